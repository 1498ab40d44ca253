import Attention
import SequenceParallel
import Testing

@Suite("Ranks that share heads")
struct HeadGridTests {
  @Test("every head is on one column, evenly, with the KV heads that its columns read")
  func shares() {
    for (queryHeads, kvHeads) in [(1, 1), (4, 4), (6, 3), (6, 2), (12, 1)] {
      let shape = AttentionShape(
        batch: 1, queryHeads: queryHeads, kvHeads: kvHeads, headDim: 8, valueHeadDim: 4)
      for columns in 1...8 {
        let shares = HeadGrid(columns: columns, rows: 1).shares(of: shape)
        #expect(shares.flatMap { Array($0.queryHeads) } == Array(0..<queryHeads))
        let counts = shares.map(\.queryHeads.count)
        #expect(counts == counts.sorted(by: >) && counts[0] - counts[columns - 1] <= 1)
        for share in shares {
          let read = Set(share.queryHeads.map { $0 / (queryHeads / kvHeads) })
          #expect(Set(share.kvHeads) == read)
          #expect((share.shape == nil) == share.queryHeads.isEmpty)
          #expect(share.shape.map(\.kvHeads) ?? 0 == read.count)
        }
      }
    }
  }

  @Test("rows are neighbouring ranks, and every rank has a place")
  func places() {
    let grid = HeadGrid(columns: 3, rows: 4)
    for rank in 0..<12 {
      let place = grid.place(of: rank)
      #expect(place.row == rank / 3 && place.column == rank % 3)
      #expect(grid.members(ofRow: place.row).contains(rank))
      #expect(grid.members(ofRow: place.row).count == 3)
    }
  }
}
