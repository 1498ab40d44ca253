import Attention
import AttentionReference
import Sharding
import Tensors
import Testing

/// Masks, rules, sizes and shards put together at random, in both passes, against the oracle.
@Suite("Any masks together")
struct RandomMaskTests {
  /// What a seed decides, which can be made smaller.
  private struct Combination: CustomStringConvertible {
    var seed: UInt64
    var masks: [any Mask]
    var batch: Int
    var tokens: Int
    var keyTokens: Int
    var heads: (query: Int, kv: Int)
    var headDim: Int
    var softcap: Bool
    var alibi: Bool
    var layout: Layout
    var ranks: Int

    init(seed: UInt64) {
      self.seed = seed
      var random = MaskRandom(seed: seed)
      func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
      keyTokens = number(1...(seed % 8 == 0 ? 420 : 70))
      tokens = number(0...1) == 0 ? keyTokens : number(1...(seed % 8 == 0 ? 200 : 70))
      batch = number(1...3)
      heads = [(1, 1), (4, 4), (4, 2), (6, 1)].randomElement(using: &random) ?? (1, 1)
      headDim = [4, 5, 16, 20, 64].randomElement(using: &random) ?? 4
      (softcap, alibi) = (number(0...4) == 0, number(0...4) == 0)
      layout = Layout.regular.randomElement(using: &random) ?? .contiguous
      ranks = [1, 2, 3, 4, 5, 7, 8].randomElement(using: &random) ?? 1
      masks = number(0...2) > 0 ? [CausalMask()] : []
      if number(0...3) == 0 {
        masks.append(WindowMask(width: number(1...30), dilation: number(1...3)))
        if number(0...1) == 0 { masks.append(SinkMask(count: number(1...5))) }
        if number(0...1) == 0 {
          let first = number(0...keyTokens - 1)
          masks.append(GlobalMask(tokens: [first..<first + 1]))
        }
      }
      let ofSegments: [any Mask] = [
        SegmentMask(), SegmentMask(tokens == keyTokens ? .starts : .ids), ParallelWindowMask(),
        ParallelWindowMask.structured,
      ]
      if number(0...2) > 0 { masks.append(ofSegments[number(0...3)]) }
      if number(0...2) == 0 { masks.append(PaddingMask()) }
      if number(0...4) == 0 { masks.append(BlockMask(path: "blocks")) }
      if number(0...6) == 0, tokens == keyTokens { masks.append(StarMask()) }
    }

    var description: String {
      "seed \(seed): \(PatternChoice(masks)), \(batch) x \(tokens) of \(keyTokens), "
        + "heads \(heads), head dim \(headDim), \(softcap ? "soft cap, " : "")\(alibi ? "alibi, " : "")\(layout), "
        + "\(ranks) ranks"
    }

    /// The largest error of outputs and of gradients.
    func errors() -> (forward: Double, backward: Double) {
      var problem = Problem(
        batch: batch, tokens: tokens, keyTokens: keyTokens, queryHeads: heads.query,
        kvHeads: heads.kv, headDim: headDim, seed: seed)
      let choice = PatternChoice(masks)
      var inputs = choice.drawnInputs(
        batch: batch, queryHeads: heads.query, tokens: tokens, keyTokens: keyTokens, seed: seed)
      let blocks = [heads.query, (tokens + 8) / 9, (keyTokens + 30) / 31]
      let isSet = (0..<blocks.reduce(1, *)).map { (block: Int) -> Int32 in
        block * 31 % 7 < 4 ? 1 : 0
      }
      inputs.add(MaskTable(shape: blocks, numbers: isSet), as: "block_mask")
      var reference: [any ReferenceScoreRule] = []
      let offset = keyTokens - tokens
      if softcap { reference.append(ReferenceSoftCap(limit: 2)) }
      if alibi {
        reference.append(
          ReferenceAlibi(slopes: ReferenceAlibi.slopes(heads: heads.query), offset: offset))
      }
      if masks.contains(where: { $0 as? ParallelWindowMask == .structured }) {
        let table = inputs.tables["key_segment_ids"] ?? inputs.tables["segment_ids"]
        let windows = (table?.numbers ?? []).map { Int($0) }
        reference.append(
          ReferenceOwnKeyWeight(
            windows: (0..<batch).map { Array(windows[$0 * keyTokens..<($0 + 1) * keyTokens]) }))
      }
      problem.referenceRule = reference.isEmpty ? nil : ReferenceRuleSequence(reference)
      problem.scoreRule = RuleSequence.joining([
        softcap ? SoftCap(limit: 2) : nil,
        alibi ? Alibi(slopes: Alibi.slopes(heads: heads.query), offset: offset) : nil,
        choice.scoreRule(inputs),
      ])
      let (pattern, bias) = (choice.pattern(inputs), choice.bias(inputs))
      let (q, k, v) = (
        problem.q.map(Double.init), problem.k.map(Double.init), problem.v.map(Double.init)
      )
      let queryRuns = Sharding(layout, tokens: tokens, ranks: ranks).shards.flatMap { $0 }
      let shards = Sharding(layout, tokens: keyTokens, ranks: ranks).shards.filter { !$0.isEmpty }
      let expected = problem.oracle(q: q, k: k, v: v, bias: bias)
      let output = problem.computed(
        pattern: pattern, queryRuns: queryRuns, blocks: shards, threads: 2)
      let wanted = problem.oracle.gradients(
        q: q, k: k, v: v, outputGradient: problem.outputGradient.map(Double.init), bias: bias)
      let gradients = problem.computedGradients(
        pattern: pattern, queryRuns: queryRuns, blocks: shards, threads: 2)
      return (
        max(relativeError(output.o, expected.o), relativeError(output.lse, expected.lse)),
        max(
          relativeError(gradients.dq, wanted.dq), relativeError(gradients.dk, wanted.dk),
          relativeError(gradients.dv, wanted.dv))
      )
    }

    var fails: Bool {
      let errors = errors()
      return !(errors.forward < 1e-5 && errors.backward < 1e-4)
    }

    /// The same with something less.
    var smaller: [Combination] {
      func changed(_ change: (inout Combination) -> Void) -> Combination {
        var copy = self
        change(&copy)
        return copy
      }
      var all = masks.indices.map { index in changed { $0.masks.remove(at: index) } }
      if tokens == keyTokens, tokens > 1 {
        all.append(changed { ($0.tokens, $0.keyTokens) = (tokens / 2, tokens / 2) })
      }
      if softcap { all.append(changed { $0.softcap = false }) }
      if alibi { all.append(changed { $0.alibi = false }) }
      if batch > 1 { all.append(changed { $0.batch = 1 }) }
      if heads.query > 1 { all.append(changed { $0.heads = (1, 1) }) }
      if ranks > 1 { all.append(changed { $0.ranks = 1 }) }
      return all
    }

    /// The smallest that fails on the way down from one that does.
    var shrunk: Combination {
      var found = self
      while let next = found.smaller.first(where: \.fails) { found = next }
      return found
    }
  }

  @Test("200 combinations, drawn with a seed and made smaller where one fails")
  func combinations() {
    for seed in 1...200 as ClosedRange<UInt64> {
      let combination = Combination(seed: seed)
      if combination.fails {
        let shrunk = combination.shrunk
        Issue.record("\(combination); smallest: \(shrunk), errors \(shrunk.errors())")
        return
      }
    }
  }
}
