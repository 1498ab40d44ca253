public import ArgumentParser
public import Models

/// `--cache-type f32|f16|bf16|int8|kivi4`.
extension CacheType: ExpressibleByArgument {}
