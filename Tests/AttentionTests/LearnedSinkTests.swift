import Attention
import AttentionReference
import Foundation
import Tensors
import Testing

@Suite("Learned sinks")
struct LearnedSinkTests {
  private let sinks: [Float] = [0.5, -2, 30]

  private func problem(tokens: Int, keyTokens: Int) -> Problem {
    Problem(
      batch: 2, tokens: tokens, keyTokens: keyTokens, queryHeads: 3, kvHeads: 1, headDim: 12,
      valueHeadDim: 10)
  }

  /// Every third row sees nothing.
  private func bias(_ i: Int, _ j: Int, _ h: Int) -> Double {
    i % 3 == 1 || j > i + 4 ? -.infinity : 0
  }

  private struct SomeRows: AttentionPattern {
    func coverage(keys: PositionRange, queries: PositionRange) -> Coverage { .some }

    func fill(
      _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
      head: Int
    ) {
      for row in 0..<queries.count {
        for key in 0..<keys.count {
          let hidden = queries[row] % 3 == 1 || keys[key] > queries[row] + 4
          bias[row * keys.count + key] = hidden ? -.infinity : 0
        }
      }
    }
  }

  @Test(
    "outputs, log-sum-exps and all gradients are the oracle's, also of rows that see nothing",
    arguments: [Accumulation.fast, .reproducible])
  func exact(accumulation: Accumulation) {
    let problem = problem(tokens: 50, keyTokens: 54)
    var oracle = problem.oracle
    oracle.sinks = sinks.map(Double.init)
    let numbers = [problem.q, problem.k, problem.v, problem.outputGradient].map {
      $0.map(Double.init)
    }
    let expected = oracle(q: numbers[0], k: numbers[1], v: numbers[2], bias: bias)
    let gradients = oracle.gradients(
      q: numbers[0], k: numbers[1], v: numbers[2], outputGradient: numbers[3], bias: bias)
    let (team, runs) = (ThreadTeam(threads: 2), [PositionRange(0..<50)])
    let queries = problem.queryShard(runs: runs)
    let learned = LearnedSinks(sinks)
    let output = learned.applied(
      to: problem.forward(
        pattern: SomeRows(), queries: queries, blocks: [[PositionRange(0..<54)]],
        elementType: .f32, accumulation: accumulation, team: team), team: team)
    let (o, lse) = (output.o.span, output.lse.span)
    #expect(relativeError(o.indices.map { o[$0] }, expected.o) < 1e-6)
    #expect(relativeError(lse.indices.map { lse[$0] }, expected.lse) < 1e-6)
    // A row that sees nothing has the sink alone.
    #expect((0..<3).allSatisfy { lse[$0 * 50 + 1] == sinks[$0] })
    #expect((0..<30).allSatisfy { o[30 + $0] == 0 })

    let outputGradient = problem.outputGradientShard(runs: runs)
    var accumulator = BackwardAccumulator(
      shape: problem.shape, output: output, outputGradient: outputGradient, scale: problem.scale,
      pattern: SomeRows(), accumulation: accumulation, team: team)
    let block = problem.keyValueBlock(runs: [PositionRange(0..<54)], elementType: .f32)
    var gradient = KeyValueGradient(shape: problem.shape, keys: 54, accumulation: accumulation)
    accumulator.attend(queries, outputGradient: outputGradient, to: block, addingTo: &gradient)
    let dq = accumulator.finish()
    let dk = gradient.dk()
    let dv = gradient.dv()
    #expect(relativeError(dq.span.indices.map { dq.span[$0] }, gradients.dq) < 1e-5)
    #expect(relativeError(dk.span.indices.map { dk.span[$0] }, gradients.dk) < 1e-5)
    #expect(relativeError(dv.span.indices.map { dv.span[$0] }, gradients.dv) < 1e-5)

    // The gradient of a sink, against central differences.
    let dsinks = learned.gradient(merging: [
      learned.gradientSums(output, outputGradient: outputGradient, runs: runs, team: team)
    ])
    let step = 1e-5
    let differences = sinks.indices.map { head in
      func loss(_ sign: Double) -> Double {
        var moved = oracle
        moved.sinks?[head] += sign * step
        let o = moved(q: numbers[0], k: numbers[1], v: numbers[2], bias: bias).o
        return zip(o, numbers[3]).reduce(0) { $0 + $1.0 * $1.1 }
      }
      return (loss(1) - loss(-1)) / (2 * step)
    }
    #expect(relativeError(dsinks, differences) < 1e-6)
    let twin = oracle.sinkGradients(
      q: numbers[0], k: numbers[1], v: numbers[2], outputGradient: numbers[3], bias: bias)
    #expect(relativeError(dsinks, twin) < 1e-6)
  }

  @Test("gradients of sinks have the same bits whoever has which leaves, in whatever order")
  func order() {
    let leaf = Accumulation.reproducible.granularity
    let tokens = 3 * leaf + 5
    let problem = Problem(tokens: tokens, keyTokens: 20, queryHeads: 9, kvHeads: 1, headDim: 4)
    let learned = LearnedSinks((0..<9).map { Float($0) - 4 })
    func sums(_ runs: [PositionRange]) -> [Int64] {
      let outputGradient = problem.outputGradientShard(runs: runs)
      var part = problem
      part.tokens = runs.reduce(0) { $0 + $1.count }
      let output = part.forward(
        pattern: FullPattern(), queries: problem.queryShard(runs: runs),
        blocks: [[PositionRange(0..<20)]], elementType: .f32, accumulation: .reproducible,
        team: ThreadTeam(threads: 1))
      return learned.gradientSums(
        learned.applied(to: output), outputGradient: outputGradient, runs: runs)
    }
    let whole = learned.gradient(merging: [sums([PositionRange(0..<tokens)])])
    let parts = learned.gradient(merging: [
      sums([PositionRange(2 * leaf..<3 * leaf)]), sums([]),
      sums([PositionRange(0..<leaf), PositionRange(3 * leaf..<tokens)]),
      sums([PositionRange(leaf..<2 * leaf)]),
    ])
    #expect(whole == parts)
    #expect(whole.allSatisfy { $0 != 0 })
  }
}
