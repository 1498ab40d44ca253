import Compute
public import MPI
import Sharding
public import Tensors

extension Prefill {
  /// How well a model foretells each token of a sequence from those before it, called by all ranks
  /// together.
  ///
  /// Logits are there for a part of the vocabulary at a time: they are never more than some tens of
  /// megabytes.
  ///
  /// - Parameters:
  ///   - tokens: of the whole sequence.
  ///   - progress: called with floating-point operations of this rank that are done.
  /// - Returns: for each position but the first `−ln p` of its token, on every rank; at index 0
  ///   NaN.
  /// - Complexity: that of a pass, and `2 · width · vocabulary` floating-point operations a token.
  public func scores(
    _ tokens: [Int], on world: borrowing Communicator,
    progress: (_ work: Int) -> Void = { _ in }
  ) throws -> [Double] {
    var scores = [Double](repeating: 0, count: tokens.count)
    let rank = world.rank
    try run(tokens, on: world, progress: progress) { rows, sharding in
      score(rows, of: sharding.shards[rank], tokens, into: &scores, progress)
    }
    // Each position is one rank's.
    try world.allReduce(&scores, with: .sum)
    if !scores.isEmpty { scores[0] = .nan }
    return scores
  }

  /// The scores of the tokens after those of some rows.
  private func score(
    _ rows: borrowing Span<Float>, of runs: [PositionRange], _ tokens: [Int],
    into scores: inout [Double], _ progress: (_ work: Int) -> Void
  ) {
    let width = blocks.decoder.sizes.width
    let count = min(blocks.chunk, Self.logitBytes / (4 * DecoderBlocks.scoredColumns))
    var start = 0
    for run in runs {
      for first in stride(from: 0, to: run.count, by: count) {
        let part = run.slice(first..<min(first + count, run.count))
        let range = start + first..<start + first + part.count
        // The last token of all foretells one that nobody knows.
        let targets = part.map { $0 + 1 < tokens.count ? tokens[$0 + 1] : nil }
        let found = blocks.scores(rows.extracting(range.scaled(by: width)), targets: targets)
        for (index, position) in part.enumerated() where position + 1 < tokens.count {
          scores[position + 1] = found[index]
        }
        progress(2 * part.count * width * blocks.decoder.sizes.vocabulary)
      }
      start += run.count
    }
  }

  /// Gives the logits of each of this rank's tokens to `body`, some tokens at a time; all ranks
  /// call it together.
  ///
  /// - Parameters:
  ///   - tokens: of the whole sequence.
  ///   - body: is given `[positions.count, vocabulary]`.
  public func forEachLogits(
    of tokens: [Int], on world: borrowing Communicator,
    progress: (_ work: Int) -> Void = { _ in },
    _ body: (_ logits: borrowing Span<Float>, _ positions: PositionRange) throws -> Void
  ) throws {
    let sizes = blocks.decoder.sizes
    let count = min(blocks.chunk, max(1, Self.logitBytes / (4 * sizes.vocabulary)))
    var logits = AlignedBuffer<Float>(zeros: count * sizes.vocabulary)
    let rank = world.rank
    try run(tokens, on: world, progress: progress) { rows, sharding in
      var start = 0
      for run in sharding.shards[rank] {
        for first in stride(from: 0, to: run.count, by: count) {
          let part = run.slice(first..<min(first + count, run.count))
          let range = start + first..<start + first + part.count
          var all = logits.mutableSpan
          var span = all.part(0..<part.count * sizes.vocabulary)
          blocks.logits(rows.extracting(range.scaled(by: sizes.width)), into: &span)
          try body(span.span, part)
          progress(2 * part.count * sizes.width * sizes.vocabulary)
        }
        start += run.count
      }
    }
  }

  /// The most bytes of logits at a time.
  static var logitBytes: Int { 64 << 20 }
}

extension DecoderBlocks {
  /// Tokens of the vocabulary whose logits are summed up at a time: always as many, so that sums
  /// have one order.
  fileprivate static var scoredColumns: Int { 8192 }

  /// `−ln p` of the token after each of some.
  ///
  /// - Parameters:
  ///   - rows: `[tokens, width]` as they leave the last layer, at most a chunk of them.
  ///   - targets: the next tokens; nil where it is not asked for.
  fileprivate func scores(_ rows: borrowing Span<Float>, targets: [Int?]) -> [Double] {
    let count = targets.count
    let vocabulary = decoder.sizes.vocabulary
    let columns = Self.scoredColumns
    var states = LogSumExpRows(rows: count)
    var ofTargets = [Float](repeating: 0, count: count)
    var logits = AlignedBuffer<Float>(zeros: count * min(columns, vocabulary))
    for first in stride(from: 0, to: vocabulary, by: columns) {
      let part = first..<min(first + columns, vocabulary)
      var all = logits.mutableSpan
      var span = all.part(0..<count * part.count)
      self.logits(rows, of: part, into: &span)
      states.add(span.span, width: part.count, team: team)
      for (row, target) in targets.enumerated() {
        if let target, part.contains(target) {
          ofTargets[row] = span[row * part.count + target - first]
        }
      }
    }
    return targets.indices.map {
      targets[$0] == nil ? 0 : states.logSumExp($0) - Double(ofTargets[$0])
    }
  }
}
