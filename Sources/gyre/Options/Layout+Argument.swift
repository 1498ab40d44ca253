public import ArgumentParser
public import Sharding

/// `--layout contiguous|zigzag|striped`.
extension Layout: ExpressibleByArgument {}
