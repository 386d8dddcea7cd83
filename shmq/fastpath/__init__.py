"""Layer 3: the requests that make up the traffic, in kernels: twin of `wire` and `broker`, byte for byte."""
