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
}
