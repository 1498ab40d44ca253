public import ArgumentParser
public import SequenceParallel

/// `--travel keys|queries`.
extension Travelling: ExpressibleByArgument {}
