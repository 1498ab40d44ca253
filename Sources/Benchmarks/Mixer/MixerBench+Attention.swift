import Attention
import SequenceParallel
import Sharding

/// Attention beside operators: what they are an alternative to.
extension MixerBench {
  /// The rows of all lengths and numbers of ranks.
  func attentionRows(
    _ setups: [[AttentionSetup]], _ bound: MixerSpeed.Bound
  ) -> [MixerRow<MixerSpeed>] {
    passes.flatMap { pass in
      rankCounts.indices.flatMap { place in
        setups.indices.compactMap { index -> MixerRow<MixerSpeed>? in
          let setup = setups[index][place]
          guard let contestant = setup.contestant(pass, .all) else { return nil }
          let before = index == 0 ? nil : setups[index - 1][place].contestant(pass, .all)
          let (tokens, shape) = (setup.problem.queries.tokens, setup.problem.shape)
          let columns =
            2 * (shape.queryHeads + shape.kvHeads) * (shape.headDim + shape.valueHeadDim)
          let work = MixerSpeed.Work(
            flops: setup.flops(pass),
            bytes: Double((pass == .forward ? 2 : 4) * tokens * columns), tokens: tokens,
            ranks: setup.problem.ranks)
          let key = setup.key(pass)
          return MixerRow(
            key: MixerKey(
              pass: pass, mixer: "attention", causal: key.pattern.isCausal,
              sizes: "batch=1,heads=\(shape.queryHeads),headDim=\(shape.headDim)",
              ranks: key.ranks, hosts: key.hosts, threads: key.threads, tokens: key.tokens,
              tokensPerRank: key.tokensPerRank),
            figures: MixerSpeed(contestant, before: before, work, bound))
        }
      }
    }
  }

  /// About how long a round of it takes; empty without any.
  func attentionSeconds(_ tokens: [Int], _ speed: EstimatedSpeed) -> [Double] {
    guard let problem = attention?.problem, !tokens.isEmpty else { return [] }
    return [
      tokens.reduce(0.0) { sum, tokens in
        rankCounts.reduce(sum) { sum, ranks in
          passes.reduce(sum) {
            $0
              + speed.seconds(
                flops: problem.flops($1, tokens: tokens), ranks: ranks, threads: problem.threads)
          }
        }
      }
    ]
  }
}
