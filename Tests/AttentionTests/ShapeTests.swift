import Attention
import Testing

@Suite("Heads of a shape")
struct ShapeTests {
  @Test("any cut of the heads keeps which KV head each of them reads")
  func restriction() {
    for (queryHeads, kvHeads) in [(1, 1), (6, 2), (6, 6), (12, 3), (5, 1)] {
      let whole = AttentionShape(
        batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 8, valueHeadDim: 4)
      for first in 0..<queryHeads {
        for end in first + 1...queryHeads {
          let part = whole.restricted(to: first..<end)
          let firstKV = first / (queryHeads / kvHeads)
          #expect(part.queryHeads == end - first && part.firstQueryHead == first)
          var readers = [Int](repeating: 0, count: part.kvHeads)
          for head in 0..<part.queryHeads {
            let kvHead = part.kvHead(of: head)
            #expect(firstKV + kvHead == (first + head) / (queryHeads / kvHeads))
            #expect(part.queryHeads(of: kvHead).contains(head))
            readers[kvHead] += 1
          }
          #expect(readers == (0..<part.kvHeads).map { part.queryHeads(of: $0).count })
          #expect(!readers.contains(0))
        }
      }
    }
  }
}
