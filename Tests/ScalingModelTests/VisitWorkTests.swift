import Attention
import ScalingModel
import SequenceParallel
import Sharding
import Tensors
import Testing

/// That the model counts the work that the pattern says there is.
@Suite("Work of the scaling model")
struct VisitWorkTests {
  @Test(
    "pairs of a visit in closed form are those of the mask",
    arguments: [Layout.contiguous, .zigzag, .striped], [1, 2, 3, 5, 8])
  func pairs(layout: Layout, ranks: Int) {
    for tokens in [ranks, 37, 64, 101] {
      for isCausal in [false, true] {
        let sharding = Sharding(layout, tokens: tokens, ranks: ranks)
        let pattern: any AttentionPattern = isCausal ? CausalPattern() : FullPattern()
        let problem = DenseProblem(
          shape: AttentionShape(
            batch: 1, queryHeads: 1, kvHeads: 1, headDim: 8, valueHeadDim: 8),
          tokens: tokens, layout: layout, pattern: isCausal ? .causal : .full)
        let work = VisitWork(problem, queries: sharding, keys: sharding)
        for rank in 0..<ranks {
          for owner in 0..<ranks {
            let counted = pattern.visiblePairs(
              keys: sharding.shards[owner], queries: sharding.shards[rank])
            #expect(
              work.pairs(rank: rank, owner: owner) == Double(counted),
              "\(layout) \(tokens) tokens, \(ranks) ranks, causal \(isCausal): \(rank) of \(owner)")
          }
        }
      }
    }
  }

  @Test("other masks and layouts are asked for their pairs", arguments: [1, 2, 3, 5, 8])
  func askedPairs(ranks: Int) {
    let shape = AttentionShape(
      batch: 1, queryHeads: 1, kvHeads: 1, headDim: 8, valueHeadDim: 8)
    let choices = [
      PatternChoice([CausalMask(), WindowMask(width: 90), SinkMask(count: 3)]),
      PatternChoice([WindowMask(width: 9, dilation: 4), GlobalMask(tokens: [5..<9])]), .causal,
    ]
    for choice in choices {
      for layout in Layout.allCases where choice != .causal || layout == .balanced {
        for tokens in [ranks, 211, 5000 + ranks] {
          let problem = DenseProblem(
            shape: shape, tokens: tokens, layout: layout, pattern: choice)
          let sharded = problem.sharded(ranks: ranks)
          let (queries, keys) = (sharded.queries, sharded.keys)
          let work = VisitWork(problem, queries: queries, keys: keys)
          let swapped = VisitWork(problem, queries: queries, keys: keys, travelling: .queries)
          for rank in 0..<ranks {
            for owner in 0..<ranks {
              let counted = sharded.pattern.visiblePairs(
                keys: keys.shards[owner], queries: queries.shards[rank])
              let pairs = work.pairs(rank: rank, owner: owner)
              // Up to 512 queries of a rank are all asked.
              let most = Double(queries.tokenCount(of: rank))
              let allowed = most <= 512 ? 0 : 0.01 * Double(counted) + most
              #expect(
                abs(pairs - Double(counted)) <= allowed,
                "\(choice), \(layout), \(tokens) tokens, \(rank) of \(owner): \(pairs), \(counted)")
              #expect(swapped.pairs(rank: owner, owner: rank) == pairs)
            }
          }
        }
      }
    }
  }

  @Test("bytes of a rank are those that the operator sends", arguments: [2, 3, 8])
  func bytes(ranks: Int) {
    let shape = AttentionShape(
      batch: 1, queryHeads: 8, kvHeads: 4, headDim: 32, valueHeadDim: 32)
    // Without a mask, under which some runs stay where they are.
    let problem = DenseProblem(shape: shape, tokens: 4800, layout: .zigzag, pattern: .full)
    let cluster = Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9), network: Link(latency: 0, bytesPerSecond: 1e9),
      inside: Link(latency: 0, bytesPerSecond: 1e9))
    func sent(_ route: Route, _ pass: AttentionPass) -> Double {
      cluster.predict(problem, ranks: ranks, route: route, pass: pass).bytesSentPerRank
    }
    let block = 4800 / ranks * 4 * 64 * 4
    #expect(sent(.ring, .forward) == Double((ranks - 1) * block))
    // Gradients of keys and values, in Float as they are.
    #expect(sent(.ring, .backward) == Double((ranks - 1) * 2 * block))
    let rows = 4800 / ranks * 8 * 4
    #expect(sent(.query, .forward) == Double((ranks - 1) * rows * (32 + 32 + 2)))
    // Ranks that share eight query heads and four KV heads without a rest: what a rank gives to the
    // others of its row of A, and then of its A-th of the blocks to the next of its column.
    func formula(columns: Int, _ pass: AttentionPass) -> Double {
      let n = 4800 / ranks
      let exchanged =
        pass == .forward
        ? 4 * 8 * (64 + 2) + 4 * 64 * 4 : 4 * 8 * (2 * 64 + 2) + 4 * 64 * 4
      let hops = ranks / columns - 1
      return Double(
        n * exchanged * (columns - 1) / columns
          + hops * n * 4 * 64 * 4 * (pass == .forward ? 1 : 2))
    }
    for pass in [AttentionPass.forward, .backward] {
      if ranks == 2 { #expect(sent(.heads, pass) == formula(columns: 2, pass), "\(pass)") }
      if ranks == 8 {
        #expect(sent(.mesh(heads: 2, ring: 4), pass) == formula(columns: 2, pass), "\(pass)")
      }
    }
  }
}
