public import ArgumentParser
public import Attention

/// `--window-align left|right`.
extension ParallelWindowMask.Alignment: ExpressibleByArgument {}
