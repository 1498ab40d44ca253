import KernelSets
public import Mixers

/// What a model whose layers carry states asks of ranks.
extension Decoder {
  /// Layers with states, apart from their weights.
  public struct StateWork: Sendable {
    /// Floating-point operations of a token, of all products of all layers.
    public let productWork: Int
    /// The same of what is beside them: scans, convolutions, means.
    public let scanWork: Int
    /// What ranks exchange in each layer.
    public let exchanges: [[MixerExchange]]
    /// Products of a token.
    public let products: Int
    /// Columns of all products together.
    public let columns: Int
  }

  /// The operator that carries states, as `gyre mix` calls it; nil of models without.
  public var stateOperator: String? {
    stateLayers.first?.scan(1, tokens: 1, hasState: false).name
  }

  /// What layers with states ask of so many ranks, of so many threads each.
  public func stateWork(tokens: Int, ranks: Int, threads: Int) -> StateWork {
    let matrices = stateLayers.flatMap(\.matrices)
    return StateWork(
      productWork: stateLayers.reduce(0) { $0 + $1.work - $1.scanWork },
      scanWork: stateLayers.reduce(0) { $0 + $1.scanWork },
      exchanges: stateLayers.map { $0.exchanges(tokens: tokens, ranks: ranks, threads: threads) },
      products: matrices.count, columns: matrices.reduce(0) { $0 + $1.outputs })
  }
}
