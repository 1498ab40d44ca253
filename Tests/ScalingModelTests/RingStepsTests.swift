import Attention
import ScalingModel
import SequenceParallel
import Sharding
import Testing

/// That stepping the schedule gives the times that follow from it.
@Suite("Steps of the scaling model")
struct RingStepsTests {
  private let shape = AttentionShape(
    batch: 1, queryHeads: 2, kvHeads: 2, headDim: 64, valueHeadDim: 64)

  private func cluster(
    bytesPerSecond: Double, latency: Double = 0, ranksPerHost: Int = 1
  ) -> Cluster {
    Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9),
      network: Link(latency: latency, bytesPerSecond: bytesPerSecond),
      inside: Link(latency: 0, bytesPerSecond: 1e12), ranksPerHost: ranksPerHost)
  }

  private func problem(_ tokens: Int, _ layout: Layout = .contiguous, isCausal: Bool = false)
    -> DenseProblem
  {
    DenseProblem(shape: shape, tokens: tokens, layout: layout, pattern: isCausal ? .causal : .full)
  }

  /// Seconds that a rank computes on one block, and that the block travels at 1 GB/s.
  private func visit(_ tokens: Int) -> (computing: Double, sending: Double) {
    let n = Double(tokens)
    return (n * n * 2 * 256 / 1e9, n * 2 * 128 * 4 / 1e9)
  }

  @Test("transfers that take less than computing are hidden", arguments: [2, 3, 5, 8])
  func hidden(ranks: Int) {
    let visit = visit(1000)
    let prediction = cluster(bytesPerSecond: 1e9).predict(
      problem(1000 * ranks), ranks: ranks, route: .ring, pass: .forward)
    #expect(abs(prediction.seconds / (visit.computing * Double(ranks)) - 1) < 1e-9)
    #expect(prediction.exposedSeconds < 1e-9 && prediction.limit == .none)
  }

  @Test("transfers that take longer are what it takes", arguments: [2, 3, 5, 8])
  func exposed(ranks: Int) {
    let visit = visit(1000)
    let rate = 1e9 * visit.sending / visit.computing / 3
    let prediction = cluster(bytesPerSecond: rate, latency: 0.25).predict(
      problem(1000 * ranks), ranks: ranks, route: .ring, pass: .forward)
    // P − 1 transfers of three visits each, and the last visit.
    let expected = Double(ranks - 1) * (3 * visit.computing + 0.25) + visit.computing
    #expect(abs(prediction.seconds / expected - 1) < 1e-9)
    #expect(prediction.limit == .bandwidth)
    let slow = cluster(bytesPerSecond: 1e15, latency: 10).predict(
      problem(1000 * ranks), ranks: ranks, route: .ring, pass: .forward)
    #expect(slow.limit == .latency)
  }

  @Test("rings of single ranks are stepped in loops of their own, to the same times")
  func single() {
    for pass in [AttentionPass.forward, .backward] {
      for layout in [Layout.contiguous, .zigzag, .striped] {
        for (index, ranks) in [2, 3, 5, 8].enumerated() {
          for isCausal in [false, true] {
            for rate in [2e6, 2e8] {
              let problem = problem(211 * ranks + index, layout, isCausal: isCausal)
              func seconds(noise: Double) -> [Double] {
                var machines = cluster(bytesPerSecond: rate, latency: 1e-4)
                machines.network.cpuSecondsPerByte = 1e-9
                machines.visitSeconds = 1e-4
                // So little noise that it changes nothing takes the general way.
                machines.noise = noise
                let found = machines.predict(problem, ranks: ranks, route: .ring, pass: pass)
                return [
                  found.seconds, found.computeSeconds, found.exposedSeconds,
                  found.imbalanceSeconds,
                ]
              }
              let general = seconds(noise: 1e-300)
              for (own, other) in zip(seconds(noise: 0), general) {
                #expect(
                  abs(own - other) <= 1e-12 * general[0],
                  "\(pass), \(layout), \(ranks) ranks, \(isCausal), \(rate)")
              }
            }
          }
        }
      }
    }
  }

  @Test("a host's ranks share its link where they all send over it")
  func sharedLink() {
    var machines = cluster(bytesPerSecond: 1e6, ranksPerHost: 4)
    func seconds(_ route: Route) -> Double {
      machines.predict(problem(8000), ranks: 8, route: route, pass: .forward).seconds
    }
    let visit = visit(1000)
    // Counted host by host one rank of each sends to the other host; round the hosts all do.
    let sending = visit.sending * 1e3
    let last = visit.computing
    #expect(abs(seconds(.ring) / (7 * sending + last) - 1) < 1e-6)
    machines.mapping = .node
    #expect(abs(seconds(.ring) / (7 * 4 * sending + last) - 1) < 1e-6)
    // Four blocks cross once.
    #expect(abs(seconds(.hierarchical) / (4 * sending + 4 * last) - 1) < 1e-6)
  }

  @Test("a causal mask over contiguous shards waits for the last rank")
  func contiguous() {
    let prediction = cluster(bytesPerSecond: 1e12).predict(
      problem(8000, isCausal: true), ranks: 8, route: .ring, pass: .forward)
    let visit = visit(1000).computing
    #expect(abs(prediction.seconds / (7.5 * visit) - 1) < 0.01)
    // (1 + … + 8 − 4) / 8 visits are the mean.
    #expect(abs(prediction.imbalanceSeconds / (3.5 * visit) - 1) < 0.01)
    #expect(prediction.limit == .imbalance && abs(prediction.efficiency - 4.0 / 7.5) < 0.01)
  }

  @Test("under a window a halo goes one rank on, and time grows with the tokens alone")
  func window() {
    func predict(_ ranks: Int, _ machines: Cluster, _ pass: AttentionPass = .forward) -> Prediction
    {
      let problem = DenseProblem(
        shape: shape, tokens: 2000 * ranks, layout: .contiguous,
        pattern: PatternChoice([CausalMask(), WindowMask(width: 257)]))
      return machines.predict(problem, ranks: ranks, route: .ring, pass: pass)
    }
    // 256 keys and values of two heads.
    let halo = 256.0 * 2 * 128 * 4
    let fast = predict(8, cluster(bytesPerSecond: 1e12))
    #expect(fast.bytesSentPerRank == halo)
    // All rows but the first see 257 keys.
    let rank = 2000.0 * 257 * 2 * 256 / 1e9
    #expect(abs(fast.seconds / rank - 1) < 0.01 && fast.efficiency > 0.97)
    #expect(abs(predict(64, cluster(bytesPerSecond: 1e12)).seconds / fast.seconds - 1) < 1e-6)
    // A link so slow that it is all that counts: one halo.
    let slow = predict(8, cluster(bytesPerSecond: 1e4))
    #expect(abs(slow.seconds / (halo / 1e4) - 1) < 0.01 && slow.limit == .bandwidth)
    // Backward it is queries that travel, since they and their gradients are less.
    let rows = 256.0 * 2 * ((64 + 64 + 3) * 4 + 64 * 4)
    let backward = predict(8, cluster(bytesPerSecond: 1e4), .backward)
    #expect(backward.bytesSentPerRank == rows)
    #expect(abs(backward.seconds / (rows / 1e4) - 1) < 0.01)
  }

  @Test("threads that share cores take turns, and only while they want one")
  func sharedCores() {
    var machines = cluster(bytesPerSecond: 1e12)
    machines.cores = 2
    machines.sharesCores = true
    let visit = visit(1000)
    func seconds() -> Double {
      machines.predict(problem(4000), ranks: 4, route: .ring, pass: .forward).seconds
    }
    #expect(abs(seconds() / (8 * visit.computing) - 1) < 0.01)
    // Links so slow that the cores are idle most of the time.
    machines.network.bytesPerSecond = 1e9 * visit.sending / visit.computing / 20
    #expect(abs(seconds() / (61 * visit.computing) - 1) < 0.05)
  }

  @Test("backward, gradients travel with the blocks and the last ones home")
  func backward() {
    let visit = visit(1000)
    let (computing, sending) = (2.5 * visit.computing, visit.sending)
    let hidden = cluster(bytesPerSecond: 1e12).predict(
      problem(4000), ranks: 4, route: .ring, pass: .backward)
    #expect(abs(hidden.seconds / (4 * computing) - 1) < 1e-6)
    // At 10 kB/s nothing else counts: three blocks and three gradients over each link; queries
    // travel, whose rows are 3 + 2 · 64 floats, and 64 come back.
    let exposed = cluster(bytesPerSecond: 1e4).predict(
      problem(4000), ranks: 4, route: .ring, pass: .backward)
    let bytes = 3.0 * (131 + 64) / 128
    #expect(abs(exposed.seconds / (bytes * sending * 1e5) - 1) < 0.01)
  }

  @Test("noise costs what the slowest costs, and is the same every time")
  func noise() {
    var machines = cluster(bytesPerSecond: 1e12)
    machines.noise = 0.1
    func seconds() -> Double {
      machines.predict(problem(64000), ranks: 64, route: .ring, pass: .forward).seconds
    }
    let ratio = seconds() / (64 * visit(1000).computing)
    #expect(ratio > 1.005 && ratio < 1.2 && seconds() == seconds())
  }

  @Test("heads are exchanged before and after, and those without any wait")
  func heads() {
    let machines = cluster(bytesPerSecond: 1e9)
    let two = machines.predict(problem(4000), ranks: 2, route: .heads, pass: .forward)
    #expect(abs(two.computeSeconds / (4 * visit(2000).computing / 2) - 1) < 1e-9)
    #expect(abs(two.exposedSeconds - two.bytesSentPerRank / 1e9) < 1e-9)
    // Two heads for four ranks.
    let four = machines.predict(problem(4000), ranks: 4, route: .heads, pass: .forward)
    #expect(abs(four.efficiency - 0.5) < 0.01 && four.limit == .heads)
  }
}
