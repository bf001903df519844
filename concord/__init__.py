"""concord"""
