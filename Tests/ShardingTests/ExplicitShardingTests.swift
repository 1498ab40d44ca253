import Sharding
import Tensors
import Testing

@Suite("Shards that are given run by run")
struct ExplicitShardingTests {
  private func fault(_ shards: [[PositionRange]], tokens: Int) -> String {
    do throws(ShardingError) {
      _ = try Sharding(shards: shards, tokens: tokens)
      return "none"
    } catch { return error.description }
  }

  private func run(_ start: Int, _ count: Int, stride: Int = 1) -> PositionRange {
    PositionRange(start: start, stride: stride, count: count)
  }

  @Test("runs are kept as they are, empty ones left out")
  func kept() throws {
    let shards = [
      [run(8, 4), run(0, 0), run(0, 4)], [], [run(4, 2, stride: 2), run(5, 2, stride: 2)],
    ]
    let sharding = try Sharding(shards: shards, tokens: 12)
    #expect(
      sharding.shards == [
        [run(8, 4), run(0, 4)], [], [run(4, 2, stride: 2), run(5, 2, stride: 2)],
      ])
    #expect(sharding.layout == nil && sharding.tokens == 12 && sharding.ranks == 3)
    #expect(sharding.owner(of: 1) == (0, 5))
    #expect(sharding.owner(of: 7) == (2, 3))
    #expect(sharding.grouped(by: 3).shards == [sharding.shards.flatMap { $0 }])
  }

  @Test("every layout can be given run by run", arguments: Layout.regular)
  func layouts(layout: Layout) throws {
    for (tokens, ranks) in [(0, 1), (1, 3), (37, 5), (64, 8)] {
      let shards = Sharding(layout, tokens: tokens, ranks: ranks).shards
      #expect(try Sharding(shards: shards, tokens: tokens).shards == shards)
    }
  }

  @Test("what gives a position no owner, or two, is refused in a sentence")
  func refusals() {
    #expect(fault([], tokens: 0).contains("needs a rank"))
    #expect(fault([[]], tokens: -1).contains("cannot have -1 tokens"))
    #expect(
      fault([[run(0, 4)], [run(5, 3)]], tokens: 8)
        == "The shards hold 7 of 8 positions; give the other one to a rank too.")
    #expect(
      fault([[run(0, 4)], [run(2, 2)]], tokens: 8)
        == "Position 2 is to be held by the ranks 0 and 1; give it to one of them.")
    #expect(
      fault([[run(0, 8)], [run(3, 2), run(4, 1)]], tokens: 8)
        == "Position 3 is to be held by the ranks 0 and 1; give it to one of them.")
    #expect(
      fault([[run(0, 2)], [run(2, 2), run(3, 1)]], tokens: 4)
        == "Rank 1 is to hold position 3 twice; name it in one run only.")
    #expect(
      fault([[run(0, 3, stride: 2)], [run(1, 2, stride: 3)]], tokens: 5)
        == "Position 4 is to be held by the ranks 0 and 1; give it to one of them.")
    #expect(fault([[run(4, 5)]], tokens: 8).contains("keep runs within 0..<8"))
    #expect(fault([[run(-1, 2)]], tokens: 8).contains("keep runs within 0..<8"))
  }

  @Test("a random mistake is found, whatever the runs")
  func random() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<300 {
      let tokens = Int.random(in: 1...60, using: &random)
      var owners = (0..<tokens).map { _ in Int.random(in: 0..<4, using: &random) }
      func shards() -> [[PositionRange]] {
        // Runs of neighbours, and where they lie apart runs of two with a stride.
        (0..<4).map { rank in
          var runs: [PositionRange] = []
          for position in owners.indices where owners[position] == rank {
            guard let last = runs.last, let end = last.last,
              last.count == 1 || end + last.stride == position
            else {
              runs.append(run(position, 1))
              continue
            }
            let stride = last.count == 1 ? position - end : last.stride
            runs[runs.count - 1] = run(last.start, last.count + 1, stride: stride)
          }
          return runs.shuffled(using: &random)
        }
      }
      #expect(fault(shards(), tokens: tokens) == "none")
      let position = Int.random(in: 0..<tokens, using: &random)
      var twice = shards()
      twice[Int.random(in: 0..<4, using: &random)].append(run(position, 1))
      #expect(fault(twice, tokens: tokens).contains("osition \(position) "))
      owners[position] = -1
      #expect(fault(shards(), tokens: tokens).contains("hold \(tokens - 1) of \(tokens)"))
    }
  }
}
