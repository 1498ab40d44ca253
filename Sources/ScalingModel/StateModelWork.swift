/// What a model whose layers carry states asks of ranks, in numbers.
public struct StateModelWork: Sendable {
  /// Floating-point operations of all products of a token, logits left out.
  public let productFlops: Double
  /// Those of a token beside the products: scans, convolutions, means.
  public let scanFlops: Double
  /// Those of the logits of a token.
  public let logitFlops: Double
  /// Bytes of weights that a token reads which is generated.
  public let weightBytes: Double
  /// Bytes of the states of all layers.
  public let stateBytes: Double
  /// Bytes that the ranks that divide columns exchange for such a token, of all products.
  public let columnBytes: Double
  /// Products of such a token, each with an exchange of its own.
  public let products: Int
  /// What ranks exchange in each layer while a prompt is read.
  public let exchanges: [[MixerWork.Exchange]]

  /// Describes a model.
  public init(
    productFlops: Double, scanFlops: Double, logitFlops: Double, weightBytes: Double,
    stateBytes: Double, columnBytes: Double, products: Int, exchanges: [[MixerWork.Exchange]]
  ) {
    self.productFlops = productFlops
    self.scanFlops = scanFlops
    self.logitFlops = logitFlops
    self.weightBytes = weightBytes
    self.stateBytes = stateBytes
    self.columnBytes = columnBytes
    self.products = products
    self.exchanges = exchanges
  }
}
