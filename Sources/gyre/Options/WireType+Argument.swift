public import ArgumentParser
public import Attention

/// `--wire f32|f16|bf16|int8`.
extension WireType: ExpressibleByArgument {}
