import Foundation
import Models
import Tensors
import Testing

/// How tokens are drawn.
@Suite struct SamplingTests {
  @Test("what is drawn has the probabilities that the options leave")
  func draws() {
    let logits: [Float] = [log(1), log(2), log(4), log(8), -.infinity]
    func counts(_ change: (inout Sampling) -> Void) -> [Int] {
      var sampling = Sampling()
      sampling.temperature = 1
      change(&sampling)
      var sampler = Sampler(sampling)
      var counts = [Int](repeating: 0, count: logits.count)
      for _ in 0..<15_000 { counts[sampler.next(logits, after: [Int]())] += 1 }
      return counts
    }
    func expect(_ counts: [Int], near parts: [Double], _ what: String) {
      let sum = parts.reduce(0, +)
      for (count, part) in zip(counts, parts) {
        #expect(abs(Double(count) - 15_000 * part / sum) <= 300 * (part == 0 ? 0 : 1), "\(what)")
      }
    }
    expect(counts { _ in }, near: [1, 2, 4, 8, 0], "all")
    expect(counts { $0.topK = 2 }, near: [0, 0, 4, 8, 0], "top k")
    // 8/15 alone is not 0.75, with 4/15 it is more.
    expect(counts { $0.topP = 0.75 }, near: [0, 0, 4, 8, 0], "top p")
    expect(counts { $0.minP = 0.2 }, near: [0, 2, 4, 8, 0], "min p")
    expect(counts { $0.temperature = 0.5 }, near: [1, 4, 16, 64, 0], "temperature")
    // Of the two that are left the largest has 2/3, of all less than 0.6.
    expect(
      counts {
        $0.topK = 2
        $0.topP = 0.6
      }, near: [0, 0, 0, 8, 0], "top p of top k")
  }

  @Test("what has just the part that is asked for is enough, and stays")
  func bounds() {
    func drawn(_ change: (inout Sampling) -> Void) -> Set<Int> {
      var sampling = Sampling()
      sampling.temperature = 1
      change(&sampling)
      var sampler = Sampler(sampling)
      return Set((0..<100).map { _ in sampler.next([0, 1, 1, -1], after: [Int]()) })
    }
    #expect(drawn { $0.minP = 1 } == [1, 2])
    #expect(
      drawn {
        $0.minP = 1
        $0.topP = 0.5
      } == [1])
  }

  @Test("logits of the last 64 tokens are divided, or multiplied where they are negative")
  func repeating() {
    var sampling = Sampling()
    sampling.repeatPenalty = 100
    var sampler = Sampler(sampling)
    let logits: [Float] = [0, 1, 2, 3, -.infinity]
    #expect(sampler.next(logits, after: [3]) == 2)
    #expect(sampler.next(logits, after: [Int]()) == 3)
    #expect(sampler.next(logits, after: [3] + [Int](repeating: 2, count: 63)) == 1)
    #expect(sampler.next(logits, after: [3] + [Int](repeating: 2, count: 64)) == 3)
    #expect(sampler.next([-1, -2], after: [0]) == 1)
  }

  /// What is drawn first from the tokens sorted in full.
  private func drawn(_ logits: [Float], _ sampling: Sampling) -> Int {
    let top = Double(logits.max() ?? 0)
    var left = logits.enumerated().map { ($0, exp((Double($1) - top) / sampling.temperature)) }
    left = left.filter { $0.1 >= sampling.minP }
    left.sort { $0.1 == $1.1 ? $0.0 < $1.0 : $0.1 > $1.1 }
    left = Array(left.prefix(sampling.topK ?? left.count))
    let all = left.reduce(0) { $0 + $1.1 }
    var (kept, sum) = (0, 0.0)
    while kept < left.count, sum < sampling.topP * all {
      sum += left[kept].1
      kept += 1
    }
    var bits = sampling.seed &+ 0x9E37_79B9_7F4A_7C15
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    var rest = Double((bits ^ (bits >> 31)) >> 11) * 0x1p-53 * sum
    for (token, weight) in left.prefix(kept) {
      rest -= weight
      if rest < 0 { return token }
    }
    return left[kept - 1].0
  }

  @Test("of any vocabulary the token is that of one which is sorted")
  func sorted() {
    var state: UInt64 = 5
    func random() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(state >> 40) / 0x1p24
    }
    for (count, step) in [(1, 1.0), (2, 1), (300, 0.25), (3000, 1e-6)] as [(Int, Float)] {
      // Many that are equal, a few far above the others, and some that are never drawn.
      let logits = (0..<count).map { token in
        token % 7 == 3
          ? -.infinity
          : ((random() + random() - 1) * 8 / step).rounded() * step
            + (token % 500 == 9 ? 9 : 0)
      }
      for temperature in [1e-3, 0.7, 1e4] {
        for topK in [nil, 1, 5, 200] {
          for topP in [1, 0.9, 1e-9] {
            for minP in [0, 0.1, 1] {
              var sampling = Sampling()
              (sampling.temperature, sampling.topK) = (temperature, topK)
              (sampling.topP, sampling.minP) = (topP, minP)
              for seed in 1...6 as ClosedRange<UInt64> {
                sampling.seed = seed
                var sampler = Sampler(sampling)
                #expect(
                  sampler.next(logits, after: [Int]()) == drawn(logits, sampling),
                  "\(count) tokens: \(sampling)")
              }
            }
          }
        }
      }
    }
    var sampling = Sampling()
    sampling.temperature = 1
    var sampler = Sampler(sampling)
    #expect(sampler.next([1, .infinity, 2], after: [Int]()) == 1)
  }
}
