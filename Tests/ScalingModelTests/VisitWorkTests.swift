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
        let work = VisitWork(
          counts: (0..<ranks).map(sharding.tokenCount), layout: layout, isCausal: isCausal)
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

  @Test("bytes of a rank are those that the operator sends", arguments: [2, 3, 8])
  func bytes(ranks: Int) {
    let shape = AttentionShape(
      batch: 1, queryHeads: 8, kvHeads: 4, headDim: 32, valueHeadDim: 32)
    let problem = DenseProblem(shape: shape, tokens: 4800, layout: .zigzag, pattern: .causal)
    let cluster = Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9), network: Link(latency: 0, bytesPerSecond: 1e9),
      inside: Link(latency: 0, bytesPerSecond: 1e9))
    func sent(_ transport: Transport, _ pass: AttentionPass) -> Double {
      cluster.predict(problem, ranks: ranks, transport: transport, pass: pass).bytesSentPerRank
    }
    let block = 4800 / ranks * 4 * 64 * 4
    #expect(sent(.ring, .forward) == Double((ranks - 1) * block))
    // Gradients of keys and values, in Float as they are.
    #expect(sent(.ring, .backward) == Double((ranks - 1) * 2 * block))
    let rows = 4800 / ranks * 8 * 4
    #expect(sent(.query, .forward) == Double((ranks - 1) * rows * (32 + 32 + 2)))
    // Two ranks share four KV heads and eight query heads out without a rest.
    if ranks == 2 {
      for pass in [AttentionPass.forward, .backward] {
        let operatorSends = problem.sharded(ranks: ranks).bytesSent(
          by: 0, on: HeadGrid(columns: ranks, rows: 1), backward: pass == .backward)
        #expect(sent(.heads, pass) == Double(operatorSends), "\(pass)")
      }
    }
    // Where ranks share heads, keys travel in the backward pass too, whatever is less.
    if ranks == 8 {
      let mesh = problem.sharded(ranks: ranks)
      for pass in [AttentionPass.forward, .backward] {
        let operatorSends = mesh.bytesSent(
          by: 0, on: HeadGrid(columns: 2, rows: 4), backward: pass == .backward)
        #expect(
          abs(sent(.mesh(heads: 2, ring: 4), pass) / Double(operatorSends) - 1) < 1e-9, "\(pass)")
      }
    }
  }
}
