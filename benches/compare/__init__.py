"""Parts of `compare.py`: oltr beside other runtimes on the same graphs.

graphs   what is compared: a graph, its goldens, its bar
forms    the same network rewritten for runtimes that do not take it as it is (to_litert, ncnn_int8)
peers    one class a runtime: load, run
worker   a process that holds one peer and runs bursts when told
measure  bursts of all engines in turn
machine  what it was measured on
report   docs/results/benchmarks.md, in full
chart    its chart of latencies
"""
