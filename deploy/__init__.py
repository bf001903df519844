"""What jobs run on: a local Flink cluster of several processes, the binary of Prism, and Dataflow's containers.

`prepare` builds what other runners need with the programs that `tools` locates; `flink` starts and ends a local Flink
cluster, which consists of `processes`. `dataflow/` has the container images and the flex template. Only Python's own
library is imported, so that nothing depends on the environment that it serves.
"""
