public import ArgumentParser
public import Attention

/// `--arithmetic f32|bf16`.
extension Arithmetic: ExpressibleByArgument {}

/// `--weight-products f32|bf16|int8`.
extension ProductArithmetic: ExpressibleByArgument {}
