"""What each of Beam's runners needs beside the flags that a user gives: a file a runner."""
