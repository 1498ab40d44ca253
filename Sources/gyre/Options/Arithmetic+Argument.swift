public import ArgumentParser
public import Attention

/// `--arithmetic f32|bf16`.
extension Arithmetic: ExpressibleByArgument {}
