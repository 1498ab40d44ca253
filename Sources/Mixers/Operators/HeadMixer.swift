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

  /// The same with fewer heads of keys and values: each of them is read by as many query heads.
  static var groupedTensors: [TensorDemand] {
    [
      TensorDemand(query, "batch tokens heads headDim"),
      TensorDemand("k", "batch tokens kvHeads headDim"),
      TensorDemand("v", "batch tokens kvHeads valueHeadDim"),
    ]
  }

  /// The sizes that `--random` has for these.
  static var groupedRandomDimensions: [(name: String, likewise: String)] {
    [(name: "valueHeadDim", likewise: "headDim"), (name: "kvHeads", likewise: "heads")]
  }

  /// Refuses query heads that cannot share the heads of keys and values evenly.
  static func checkGroups(_ sizes: MixerSizes) throws(MixerError) {
    let (heads, shared) = (sizes["heads"], sizes["kvHeads"])
    guard heads % shared == 0 else {
      throw MixerError(
        "q has \(heads) heads and k and v have \(shared): query heads share those of keys and "
          + "values evenly; give a number of query heads that is a multiple of \(shared).")
    }
  }

  /// What has a row for each token and query head.
  var headOutput: TensorForm {
    let dimensions = ["batch", "tokens", "heads", "valueHeadDim"]
    return TensorForm(name: "o", dimensions: dimensions, sizes: dimensions.map { sizes[$0] })
  }
}
