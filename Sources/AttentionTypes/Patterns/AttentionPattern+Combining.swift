import Tensors

extension [any AttentionPattern] {
  /// The longest of the patterns' periods.
  var period: Int { reduce(1) { Swift.max($0, $1.period) } }

  /// Those of all the patterns.
  var singularQueries: [Range<Int>] { GlobalPattern.merged(flatMap(\.singularQueries)) }

  /// Writes what several patterns say of a tile, put together element by element.
  ///
  /// - Parameters:
  ///   - nothing: what is written if none has something to say.
  ///   - hasSay: whether a pattern has; as a rule one does.
  ///   - combine: what two patterns say, as one.
  func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int,
    nothing: Float, where hasSay: (any AttentionPattern) -> Bool,
    combine: (Float, Float) -> Float
  ) {
    var isFilled = false
    for pattern in self where hasSay(pattern) {
      guard isFilled else {
        pattern.fill(&bias, keys: keys, queries: queries, batch: batch, head: head)
        isFilled = true
        continue
      }
      var others = [Float](repeating: 0, count: bias.count)
      var span = others.mutableSpan
      pattern.fill(&span, keys: keys, queries: queries, batch: batch, head: head)
      for element in bias.indices { bias[element] = combine(bias[element], others[element]) }
    }
    if !isFilled { bias.update(repeating: nothing) }
  }
}
