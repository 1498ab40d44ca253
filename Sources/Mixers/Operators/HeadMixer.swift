/// An operator on queries, keys and values of heads, whose units are the heads.
protocol HeadMixer: Mixer {
  /// What queries are called.
  static var query: String { get }
}

extension HeadMixer {
  static var query: String { "q" }
  static var randomDimensions: [String] { ["batch", "tokens", "heads", "headDim"] }
  static var furtherRandomDimensions: [(name: String, likewise: String)] {
    [(name: "valueHeadDim", likewise: "headDim")]
  }
  static var unitDimension: String { "heads" }

  /// Queries, keys and values, in this order.
  static var headTensors: [TensorDemand] {
    [
      TensorDemand(query, "batch tokens heads headDim"),
      TensorDemand("k", "batch tokens heads headDim"),
      TensorDemand("v", "batch tokens heads valueHeadDim"),
    ]
  }
}
