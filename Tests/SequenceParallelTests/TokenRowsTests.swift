import Attention
import SequenceParallel
import Tensors
import Testing

/// Rows that several threads read.
@Suite("Rows of tokens")
struct TokenRowsTests {
  @Test("any number of threads reads the same", arguments: [2, 3, 8])
  func threads(threads: Int) throws {
    let rows = RandomRows(shape: [2, 5003, 3, 32], seed: 5, tensor: 1)
    let runs = [PositionRange(7..<2011), PositionRange(start: 2012, stride: 3, count: 900)]
    let one = try rows.read(shard: runs)
    let many = try rows.read(shard: runs, team: ThreadTeam(threads: threads))
    #expect(one.shape == [2, 2904, 3, 32] && many.shape == one.shape)
    #expect(one.span.indices.allSatisfy { one.span[$0] == many.span[$0] })
    // Not all from one place.
    #expect(one.span[0] != one.span[2004 * 96])
  }

  /// Refuses some rows.
  private struct Refusing: TokenRows {
    let shape: Shape = [1, 100_000, 1, 8]
    let refused: [Int]

    struct Refusal: Error, Equatable { let position: Int }

    func read(batch: Int, tokens: PositionRange, into numbers: inout MutableSpan<Float>) throws {
      for position in tokens where refused.contains(position) {
        throw Refusal(position: position)
      }
    }
  }

  @Test("of rows that are refused the first is told", arguments: [1, 2, 5])
  func refusals(threads: Int) {
    let rows = Refusing(refused: [99_000, 60_000, 40_000])
    for _ in 0..<10 {
      #expect(throws: Refusing.Refusal(position: 40_000)) {
        _ = try rows.read(
          shard: [PositionRange(100..<100_000)], team: ThreadTeam(threads: threads))
      }
    }
  }
}
