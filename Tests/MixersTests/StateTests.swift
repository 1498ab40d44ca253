import Compute
import Loopback
import Mixers
import SequenceParallel
import Sharding
import Synchronization
import Tensors
import Testing

/// Sequences in two runs.
@Suite("States of mixers")
struct StateTests {
  @Test(
    "the states of one run go on in the next",
    arguments: MixerTests.many.filter { $0.present.contains("state") })
  func states(_ one: MixerTests.Case) throws {
    let whole = try one.problem()
    let states = one.present.filter { $0.hasSuffix("state") }
    let cut = whole.mixer.tokens / 3 + 1
    let results = try whole.run(ranks: 3, gradients: false)
    let given = whole.inputs.filter { states.contains($0.key) }
    let first = try whole.part(0..<cut, of: one.sizes, given, options: one.options)
      .run(ranks: 2, gradients: false)
    let second = try whole.part(
      cut..<whole.mixer.tokens, of: one.sizes, first.filter { states.contains($0.key) },
      options: one.options
    ).run(ranks: 3, gradients: false)
    let form = whole.mixer.outputs[0]
    let length = form.sizes[1...].reduce(1, *)
    let row = length / form.sizes[1]
    for sequence in 0..<whole.mixer.batch {
      let expected = results["o"]?[sequence * length..<(sequence + 1) * length].map(Double.init)
      let parts = [(first["o"], cut), (second["o"], whole.mixer.tokens - cut)].flatMap {
        $0.0?[sequence * $0.1 * row..<(sequence + 1) * $0.1 * row] ?? []
      }
      #expect(difference(parts, expected ?? []) <= 2e-6)
    }
    for name in states {
      #expect(difference(second[name], (results[name] ?? []).map(Double.init)) <= 2e-6, "\(name)")
    }
  }

  @Test("of how many groups ranks tell those after them first what becomes of states")
  func headStart() throws {
    // Rank 3 of 6 has no tokens.
    let cuts = [0, 2, 4, 6, 6, 8, 9]
    let shards: [[PositionRange]] = (0..<6).map { rank in
      let range = cuts[rank]..<cuts[rank + 1]
      return range.isEmpty ? [] : [PositionRange(range)]
    }
    let sharding = Sharding(layout: nil, tokens: 9, shards: shards)
    let all = Mutex<[[Int]]>([[Int]](repeating: [], count: 6))
    try LoopbackJob.run(ranks: 6, seed: 1) { wire in
      let line = RankLine(wire, sharding: sharding, team: ThreadTeam(threads: 1))
      let starts = [3, 9].map { line.headStart(groups: $0, isReverse: false) }
      let reverse = line.headStart(groups: 3, isReverse: true)
      line.goesOn = true
      let own = starts + [reverse] + [3, 4].map { line.headStart(groups: $0, isReverse: false) }
      all.withLock { $0[wire.rank] = own }
    }
    // Ranks of passes that follow each other have one only if they are more than a unit too many.
    #expect(
      all.withLock { $0 } == [
        [3, 4, 0, 3, 0], [3, 3, 1, 3, 0], [2, 2, 2, 2, 0], [2, 2, 3, 2, 0], [1, 1, 3, 1, 0],
        [0, 0, 3, 0, 0],
      ])
  }

  @Test("memory that is kept from one tensor to the next is the same, and zeros again")
  func memory() throws {
    let form = try MixerProblem(
      "sima",
      [
        "batch": 1, "tokens": 1 << 10, "heads": 2, "kvHeads": 2, "headDim": 64, "valueHeadDim": 64,
      ]
    ).mixer.inputs[0]
    TensorMemory.reserve([form], tokens: 1 << 10, on: ThreadTeam(threads: 2))
    defer { TensorMemory.release() }
    var places: Set<UInt> = []
    for _ in 0..<3 {
      let tensor = MixerTensor(zeros: form, tokens: 1 << 10)
      #expect(tensor.array.allSatisfy { $0 == 0 })
      unsafe tensor.base.update(repeating: 1, count: tensor.count)
      unsafe places.insert(UInt(bitPattern: tensor.base))
    }
    #expect(places.count == 1)
  }
}
