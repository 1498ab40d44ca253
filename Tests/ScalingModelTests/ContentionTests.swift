import Attention
import ScalingModel
import SequenceParallel
import Sharding
import Testing

/// What cores and memory of a host take from those that share them.
@Suite("Contention in the scaling model")
struct ContentionTests {
  private let curve = CoreCurve([
    CoreCurve.Point(cores: 16, mean: 1.3, slowest: 1.9),
    CoreCurve.Point(cores: 8, mean: 1, slowest: 1.2),
  ])

  @Test("ranks wait for the slowest core, and threads of a rank even out")
  func curves() {
    func slowdown(_ ranks: Int, _ threads: Int) -> Double {
      curve.slowdown(ranks: ranks, threads: threads, cores: 16)
    }
    #expect(slowdown(1, 1) == 1 && abs(slowdown(8, 1) - 1.2) < 1e-12)
    #expect(abs(slowdown(16, 1) - 1.9) < 1e-12 && abs(slowdown(64, 1) - 1.9) < 1e-12)
    #expect(abs(slowdown(12, 1) - 1.55) < 1e-12)
    #expect(abs(slowdown(1, 16) - 1.3) < 1e-12)
    // Half of √(ln 4 / ln 16) of what single cores differ by.
    let spread: Double = 0.6 * 0.5 * 0.5.squareRoot()
    #expect(abs(slowdown(4, 4) - 1.3 - spread) < 1e-12)
    let half = CoreCurve(crowding: 0.4, cores: 16)
    #expect(half.slowdown(ranks: 8, threads: 1, cores: 16) == 1)
    #expect(abs(half.slowdown(ranks: 6, threads: 2, cores: 16) - 1.2) < 1e-12)
    let uneven = CoreCurve(crowding: 0.4, evenShare: 0.25, cores: 16)
    #expect(abs(uneven.slowdown(ranks: 12, threads: 1, cores: 16) - 1.2) < 1e-12)
    #expect(abs(uneven.slowdown(ranks: 1, threads: 12, cores: 16) - 1.05) < 1e-12)
    let memory = MemoryCurve([
      MemoryCurve.Point(cores: 4, bytesPerSecond: 40e9),
      MemoryCurve.Point(cores: 2, bytesPerSecond: 24e9),
    ])
    #expect(memory.bytesPerSecond(cores: 1) == 12e9 && memory.bytesPerSecond(cores: 9) == 40e9)
    #expect(abs(memory.bytesPerSecond(cores: 3) - 32e9) < 1)
  }

  @Test("a curve through few points has the form that kernels have")
  func usualCurve() {
    var curve = KernelCurve()
    let points = [61e9, 60e9, 20e9].map { KernelCurve.Point(tokens: 2048, flopsPerSecond: $0) }
    for isMasked in [false, true] {
      curve.setUsualCurve(through: points, areMasked: true, .forward, isMasked: isMasked)
    }
    func speed(_ tokens: Double, _ isMasked: Bool) -> Double {
      curve.flopsPerSecond(tokens: tokens, .forward, isMasked: isMasked)
    }
    func expected(_ tokens: Double, _ loss: Double) -> Double {
      let measured: Double = 60e9 * (1 + 300 / 2048)
      return measured / (1 + loss / tokens)
    }
    #expect(speed(2048, true) == 60e9)
    for (tokens, isMasked, loss) in [(8192.0, true, 300.0), (2048, false, 100), (512, false, 100)] {
      let ratio = speed(tokens, isMasked) / expected(tokens, loss)
      #expect(abs(ratio - 1) < 1e-9, "\(tokens)")
    }
  }

  private func cluster(_ curve: CoreCurve?, _ memory: MemoryCurve?, perHost: Int, threads: Int = 1)
    -> Cluster
  {
    let link = Link(latency: 0, bytesPerSecond: 1e15)
    var cluster = Cluster(
      kernel: KernelCurve(flopsPerSecond: 1e9), network: link, inside: link,
      ranksPerHost: perHost, threads: threads)
    cluster.cores = 16
    cluster.coreCurve = curve
    cluster.memory = memory
    return cluster
  }

  @Test("a pass takes as much longer as its cores, and a ring the time of its copies too")
  func predictions() {
    let problem = DenseProblem(
      shape: AttentionShape(batch: 1, queryHeads: 2, kvHeads: 2, headDim: 64, valueHeadDim: 64),
      tokens: 4096, layout: .contiguous, pattern: .full)
    func seconds(_ cluster: Cluster, _ ranks: Int, _ route: Route) -> Double {
      cluster.predict(problem, ranks: ranks, route: route, pass: .forward).seconds
    }
    let free = cluster(nil, nil, perHost: 16)
    let crowded = cluster(curve, nil, perHost: 16)
    #expect(abs(seconds(crowded, 16, .ring) / seconds(free, 16, .ring) - 1.9) < 1e-3)
    #expect(abs(seconds(crowded, 8, .ring) / seconds(free, 8, .ring) - 1.2) < 1e-3)
    // Two hosts of eight, and eight threads of one rank.
    let twoHosts = seconds(cluster(curve, nil, perHost: 8), 16, .ring)
    #expect(abs(twoHosts / seconds(free, 16, .ring) - 1.2) < 1e-3)
    let threads = cluster(curve, nil, perHost: 1, threads: 8)
    #expect(abs(seconds(threads, 1, .ring) * 8 / seconds(free, 1, .ring) - 1) < 1e-3)
    let prediction = crowded.predict(problem, ranks: 16, route: .ring, pass: .forward)
    #expect(prediction.limit == .cores && abs(prediction.efficiency - 1 / 1.9) < 1e-3)
    // Turns of 256 tokens of 1 KiB, out of one rank and into another, three bytes each, at a
    // sixteenth of the memory; the last turn counts as the others.
    let copying = cluster(nil, MemoryCurve(bytesPerSecond: 1e8), perHost: 16)
    let bytes: Double = 16 * 256 * 1024
    let copies = bytes * 2 * 3 / (1e8 / 16)
    let added = seconds(copying, 16, .ring) - seconds(free, 16, .ring)
    #expect(abs(added / copies - 1) < 0.01)
    #expect(seconds(copying, 16, .shared) == seconds(free, 16, .shared))
  }

  @Test("a visit in the zigzag layout is as slow as the kernel is on its area, half a square")
  func rectangles() {
    var kernel = KernelCurve()
    kernel.setCurve(
      [256, 1024].map { KernelCurve.Point(tokens: $0, flopsPerSecond: $0 == 256 ? 1e9 : 2e9) },
      .forward, isMasked: false)
    kernel.setCurve(
      [KernelCurve.Point(tokens: 1, flopsPerSecond: 1e9)], .forward, isMasked: true)
    var machines = cluster(nil, nil, perHost: 2)
    machines.kernel = kernel
    let problem = DenseProblem(
      shape: AttentionShape(batch: 1, queryHeads: 2, kvHeads: 2, headDim: 64, valueHeadDim: 64),
      tokens: 2048, layout: .zigzag, pattern: .causal)
    let prediction = machines.predict(problem, ranks: 2, route: .shared, pass: .forward)
    // 1,024/√2 are three quarters of the way from 256 to 1,024, in logarithms.
    let own: Double = 512 * 1024 * 1025 / 2 / 1e9
    let other: Double = 512 * 1024 * 1024 / 2 / 1.75e9
    #expect(abs(prediction.seconds / (own + other) - 1) < 1e-6)
  }
}
