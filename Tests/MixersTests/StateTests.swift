import Compute
import Mixers
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
