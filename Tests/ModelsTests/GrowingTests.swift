import Foundation
import Models
import Sharding
import Tensors
import Testing

/// Who keeps what of a growing sequence, and how tokens are drawn.
@Suite struct GrowingTests {
  @Test("every position has one place, and loads stay within a page")
  func places() {
    for (prompt, ranks, page) in [(0, 3, 4), (17, 4, 5), (100, 1, 16), (7, 8, 3)] {
      var plan = CachePlan(
        prompt: Sharding(.zigzag, tokens: prompt, ranks: ranks), pageTokens: page)
      var seen: Set<[Int]> = []
      for position in prompt..<prompt + 200 {
        let place = plan.place(of: position)
        #expect(seen.insert([place.page, place.index]).inserted)
        #expect(plan.positions(ofPage: place.page)[place.index] == position)
        #expect(plan.pageOwners[place.page] == place.rank)
        // Asking again changes nothing.
        #expect(plan.place(of: position) == place)
      }
      let loads = plan.loads
      #expect(loads.reduce(0, +) == plan.tokens && plan.tokens - prompt - 200 < page)
      #expect((loads.max() ?? 0) - (loads.min() ?? 0) <= max(page, prompt / ranks + 2))
    }
  }

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
    var sampling = Sampling()
    sampling.repeatPenalty = 100
    var sampler = Sampler(sampling)
    #expect(sampler.next(logits, after: [3]) == 2)
    #expect(sampler.next(logits, after: [Int]()) == 3)
  }
}
