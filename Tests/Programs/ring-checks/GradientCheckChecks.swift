import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// The check of gradients finds right ones right and notices one wrong number on one rank.
func checkSampledGradientCheck(_ world: borrowing Communicator) throws {
  try checkRightGradients(world)
  try checkRoundedGradients(world)
  try checkGradientsInPieces(world)
  try checkWrongGradients(world)
}

private let shape = AttentionShape(
  batch: 2, queryHeads: 4, kvHeads: 2, headDim: 12, valueHeadDim: 20)

/// Every mask and layout in turn, with more keys than queries and fewer, down to ranks that have
/// none.
private func checkRightGradients(_ world: borrowing Communicator) throws {
  for (turn, (tokens, keyTokens)) in [(29, 29), (21, 30), (30, 21), (1, 3), (5, 0)].enumerated() {
    let problem = Problem(
      shape: shape, tokens: tokens, keyTokens: keyTokens, logits: 1, seed: UInt64(tokens))
    for (index, mask) in MaskCase.all(tokens: tokens, keyTokens: keyTokens).enumerated() {
      let layout = Layout.regular[(turn + index) % 3]
      let name = "\(mask.name), \(layout), \(tokens) tokens, \(keyTokens) keys"
      let attention = problem.attention(mask.pattern, layout: layout, ranks: world.size)
      let passes = try problem.run(attention, on: world)
      // Some of the rows and all of them, in turn.
      let rows = index % 2 == 0 ? 16 : 60
      let finding = try problem.gradientFinding(
        passes.gradients, passes.output, attention, mask, rows: rows, on: world)
      let expected = min(rows, 2 * tokens) + min(rows, 2 * keyTokens)
      try require(finding.rows == expected, "\(name): \(finding.rows) rows")
      try require(finding.holds, "\(name): \(finding)")
    }
  }
}

/// On a narrow wire the gradients are those of what has travelled.
private func checkRoundedGradients(_ world: borrowing Communicator) throws {
  let problem = Problem(shape: shape, tokens: 29, keyTokens: 29, logits: 1, seed: 3)
  for mask in MaskCase.all(tokens: 29, keyTokens: 29).prefix(2) {
    for wire in [WireType.f16, .bf16, .int8] {
      let attention = problem.attention(
        mask.pattern, layout: .striped, ranks: world.size, wire: wire)
      let passes = try problem.run(attention, on: world)
      let finding = try problem.gradientFinding(
        passes.gradients, passes.output, attention, mask, rows: 58, on: world)
      try require(finding.holds, "\(mask.name), \(wire): \(finding)")
    }
  }
}

/// Shards that are read in several pieces.
private func checkGradientsInPieces(_ world: borrowing Communicator) throws {
  let shape = AttentionShape(
    batch: 1, queryHeads: 8, kvHeads: 4, headDim: 64, valueHeadDim: 32)
  let tokens = 1200 * min(world.size, 2)
  let problem = Problem(shape: shape, tokens: tokens, keyTokens: tokens, logits: 1, seed: 4)
  let mask = MaskCase.all(tokens: tokens, keyTokens: tokens)[1]
  let attention = problem.attention(mask.pattern, layout: .contiguous, ranks: world.size)
  let passes = try problem.run(attention, on: world)
  let finding = try problem.gradientFinding(
    passes.gradients, passes.output, attention, mask, rows: 16, on: world)
  try require(finding.rows == 32 && finding.holds, "\(tokens) tokens: \(finding)")
}

private func checkWrongGradients(_ world: borrowing Communicator) throws {
  let problem = Problem(shape: shape, tokens: 29, keyTokens: 29, logits: 1, seed: 2)
  let mask = MaskCase.all(tokens: 29, keyTokens: 29)[0]
  let attention = problem.attention(mask.pattern, layout: .zigzag, ranks: world.size)
  let passes = try problem.run(attention, on: world)
  // The last token of the last sequence is always among the sampled ones.
  let isOwner = attention.queries.owner(of: 28).rank == world.rank
  for wrongValue: Float in [0.5, .nan, .infinity] {
    for tensor in ["dq", "dk", "dv"] {
      let gradients = AttentionGradients(
        dq: passes.gradients.dq.copy(
          addingToLast: isOwner && tensor == "dq" ? wrongValue : 0),
        dk: passes.gradients.dk.copy(
          addingToLast: isOwner && tensor == "dk" ? wrongValue : 0),
        dv: passes.gradients.dv.copy(
          addingToLast: isOwner && tensor == "dv" ? wrongValue : 0))
      let finding = try problem.gradientFinding(
        gradients, passes.output, attention, mask, rows: 16, on: world)
      try require(!finding.holds, "\(wrongValue) in \(tensor) went unnoticed: \(finding)")
    }
    // Nor may what the gradients of keys are judged by be wrong: −∞ would say the row saw nothing.
    let output = AttentionOutput(
      o: passes.output.o.copy(addingToLast: 0),
      lse: passes.output.lse.copy(addingToLast: isOwner ? -wrongValue : 0))
    let finding = try problem.gradientFinding(
      passes.gradients, output, attention, mask, rows: 16, on: world)
    try require(!finding.holds, "\(-wrongValue) in lse went unnoticed: \(finding)")
  }
}

extension Problem {
  fileprivate func gradientFinding(
    _ gradients: borrowing AttentionGradients, _ output: borrowing AttentionOutput,
    _ attention: ShardedAttention, _ mask: MaskCase, rows: Int, on world: borrowing Communicator
  ) throws -> SampledCheck.Finding {
    try SampledGradientCheck(of: attention, rows: rows) { b, i, j, h in
      mask.sees(b, i, j, h) ? 0 : -.infinity
    }.run(gradients, output, q: q, k: k, v: v, outputGradient: outputGradient, on: world)
  }
}

extension Tensor<Float> {
  /// A copy with something added to its last element, if it has one.
  func copy(addingToLast wrong: Float) -> Tensor<Float> {
    var copy = Tensor<Float>(zeros: shape)
    var target = copy.mutableSpan
    for index in target.indices { target[index] = span[index] }
    if wrong != 0, count > 0 { target[count - 1] += wrong }
    return copy
  }
}
