import ArgumentParser
import Plots

/// `--kind strong|weak|…`.
extension PlotKind: ExpressibleByArgument {}
