import Attention
import AttentionReference
import LongNet
import MPI
import SequenceParallel
import Sharding
import Tensors

/// The windows of a stream, each on the rank whose turn it is, against the closed form.
func checkStreamed(_ world: borrowing Communicator) throws {
  var seed: UInt64 = 900
  for tokens in [1, 37, 300] {
    for (queryHeads, kvHeads) in [(1, 1), (4, 4), (6, 2), (5, 1)] {
      for isCausal in [true, false] {
        for branches in [
          [(16, 1), (64, 4), (4 * tokens, 16)], [(7, 2), (30, 3), (31, 5)], [(tokens, 1)],
          [(max(1, tokens / 3), 1), (max(1, tokens / 3), 1), (5, 8)],
        ] {
          seed += 1
          let shape = AttentionShape(
            batch: seed % 3 == 0 ? 2 : 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 8,
            valueHeadDim: seed % 5 == 0 ? 12 : 8)
          try checkStreamed(
            branches, seed % 2 == 0 ? .modulo : .grouped, isCausal: isCausal, shape: shape,
            tokens: tokens, seed: seed, on: world)
        }
      }
    }
  }
}

/// The same for a longer sequence, in windows that hold many segments and cut many others.
func checkStreamedLong(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(batch: 1, queryHeads: 2, kvHeads: 1, headDim: 8, valueHeadDim: 8)
  for isCausal in [true, false] {
    try checkStreamed(
      [(64, 1), (128, 2), (256, 4), (512, 8), (1024, 16)], .modulo, isCausal: isCausal,
      shape: shape, tokens: 1000, seed: isCausal ? 71 : 72, on: world)
  }
}

private func checkStreamed(
  _ branches: [(Int, Int)], _ offset: HeadOffset, isCausal: Bool, shape: AttentionShape,
  tokens: Int, seed: UInt64, on world: borrowing Communicator
) throws {
  let problem = Problem(
    shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: seed)
  let dilation = DilatedCase(
    branches, offset, queryHeads: shape.queryHeads, isCausal: isCausal)
  let expected = try problem.expected(on: world) { dilation.reference.bias($0, $1, head: $2) }
  let attention = try problem.dilated(dilation, layout: .contiguous, ranks: world.size)
  let whole = try problem.run(attention, .sequence, DilatedAttention.Options(), on: world)
  for windowTokens in [1 + Int(seed % 16), 64, 150, 5000] {
    let stepBytes = [500, 20_000, 4 << 20][Int(seed) % 3]
    var stream = try StreamedDilatedAttention(
      shape: shape, tokens: tokens, branches: dilation.pattern.branches, headOffset: offset,
      isCausal: isCausal, windowTokens: windowTokens,
      team: ThreadTeam(threads: 1 + Int(seed % 2)), stepBytes: stepBytes)
    let name =
      "\(dilation.name), \(tokens) tokens in windows of \(windowTokens), \(shape), "
      + "\(stepBytes) bytes"
    var tokensSeen = 0
    var pairs = 0.0
    for index in 0..<stream.windowCount {
      let positions = stream.positions(ofWindow: index)
      try require(positions.start == tokensSeen, "\(name): window \(index) is \(positions)")
      tokensSeen += positions.count
      pairs += stream.pairs(ofWindow: index)
      guard index % world.size == world.rank else { continue }
      let output = try stream.window(index, q: problem.q, k: problem.k, v: problem.v)
      try problem.check(output, expected, positions: positions, name)
      try problem.compare(
        output, positions: positions, with: whole.output,
        positions: attention.sharding.shards[world.rank].first ?? PositionRange(0..<0), name)
    }
    try require(tokensSeen == tokens, "\(name): windows hold \(tokensSeen) tokens")
    try require(pairs == stream.pairs, "\(name): windows have \(pairs) pairs, not \(stream.pairs)")
  }
}

/// The check of sampled rows passes what is right, and fails what another pattern gives.
func checkStreamedSampleCheck(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(batch: 2, queryHeads: 4, kvHeads: 2, headDim: 8, valueHeadDim: 12)
  let tokens = 1000
  let problem = Problem(
    shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 5)
  func stream(
    _ branches: [(Int, Int)], _ offset: HeadOffset, isCausal: Bool
  ) throws -> StreamedDilatedAttention {
    try StreamedDilatedAttention(
      shape: shape, tokens: tokens,
      branches: branches.map { DilatedBranch(segmentLength: $0.0, dilationRate: $0.1) },
      headOffset: offset, isCausal: isCausal, windowTokens: 150)
  }
  func finding(
    of computed: StreamedDilatedAttention, against described: StreamedDilatedAttention
  ) throws -> DilatedSampleCheck.Finding {
    var computed = computed
    let check = DilatedSampleCheck(of: described, rows: 40, seed: 3)
    var finding = DilatedSampleCheck.Finding()
    for index in 0..<computed.windowCount {
      let output = try computed.window(index, q: problem.q, k: problem.k, v: problem.v)
      finding.add(
        try check.check(
          output, positions: computed.positions(ofWindow: index), q: problem.q, k: problem.k,
          v: problem.v))
    }
    return finding
  }
  let branches = [(32, 1), (128, 2), (5000, 100)]
  for isCausal in [true, false] {
    let right = try stream(branches, .modulo, isCausal: isCausal)
    let found = try finding(of: right, against: right)
    try require(found.rows == 40 && found.holds, "\(found)")
    let others = [
      try stream([(32, 1), (128, 2)], .modulo, isCausal: isCausal),
      try stream([(32, 1), (128, 2), (5000, 50)], .modulo, isCausal: isCausal),
      try stream([(32, 1), (128, 2), (500, 100)], .modulo, isCausal: isCausal),
      try stream(branches, .grouped, isCausal: isCausal),
      try stream(branches, .modulo, isCausal: !isCausal),
      try stream(branches + [(1, 1)], .modulo, isCausal: isCausal),
    ]
    for (index, other) in others.enumerated() {
      let found = try finding(of: other, against: right)
      try require(!found.holds, "the check passes wrong pattern \(index): \(found)")
    }
  }
}

extension Problem {
  /// Throws unless rows at some positions are the oracle's.
  fileprivate func check(
    _ output: borrowing AttentionOutput, _ expected: Expected, positions: PositionRange,
    _ name: String
  ) throws {
    let row = shape.queryHeads * shape.valueHeadDim
    try require(
      output.o.shape == [shape.batch, positions.count, shape.queryHeads, shape.valueHeadDim]
        && output.lse.shape == [shape.batch, shape.queryHeads, positions.count],
      "\(name): shapes \(output.o.shape), \(output.lse.shape)")
    for batch in 0..<shape.batch {
      for (local, position) in positions.enumerated() {
        for column in 0..<row {
          try requireClose(
            output.o.span[(batch * positions.count + local) * row + column],
            expected.o[(batch * tokens + position) * row + column], "\(name): o of \(position)")
        }
        for head in 0..<shape.queryHeads {
          let sequence = batch * shape.queryHeads + head
          try requireClose(
            output.lse.span[sequence * positions.count + local],
            expected.lse[sequence * tokens + position], "\(name): lse of \(position)")
        }
      }
    }
  }

  /// Throws unless two results are the same at the positions that both have.
  fileprivate func compare(
    _ output: borrowing AttentionOutput, positions: PositionRange,
    with other: borrowing AttentionOutput, positions otherPositions: PositionRange, _ name: String
  ) throws {
    guard let common = positions.commonIndices(with: otherPositions) else { return }
    let row = shape.queryHeads * shape.valueHeadDim
    for batch in 0..<shape.batch {
      for (own, theirs) in zip(common.own, common.other) {
        for column in 0..<row {
          try requireClose(
            output.o.span[(batch * positions.count + own) * row + column],
            Double(
              other.o.span[(batch * otherPositions.count + theirs) * row + column]),
            "\(name): o of \(positions[own]) by the operator")
        }
      }
    }
  }

  private func requireClose(
    _ actual: Float, _ wanted: Double, _ name: @autoclosure () -> String
  ) throws {
    // Outputs are means of numbers below 2, log-sum-exps of so few scores below 12.
    try require(
      Double(actual) == wanted || abs(Double(actual) - wanted) <= 2e-5,
      "\(name()) is \(actual), not \(wanted)")
  }
}
