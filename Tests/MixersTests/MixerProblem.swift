import Compute
import Loopback
import MPI
import Mixers
import SequenceParallel
import Sharding
import Synchronization
import Tensors

/// An operator on numbers in memory, computed by ranks that are threads of this process.
struct MixerProblem: Sendable {
  let mixer: any Mixer
  /// The inputs by name, whole.
  var inputs: [String: [Float]]
  /// The gradient of the first output.
  let gradient: [Float]

  /// What all ranks have together, by name: outputs, and gradients under `d` and the input's name.
  typealias Results = [String: [Float]]

  /// Random inputs.
  init(
    _ name: String, _ sizes: [String: Int], present: Set<String> = [],
    options: MixerOptions = MixerOptions(), ranks: [String: Int] = [:], seed: UInt64 = 1,
    change: (inout [String: [Float]]) -> Void = { _ in }
  ) throws {
    let type = try requireMixer(name)
    var all = MixerSizes(sizes)
    all.ranks = ranks
    mixer = try type.init(all, present: present, options: options)
    let team = ThreadTeam(threads: 1)
    var inputs: [String: [Float]] = [:]
    for (index, form) in mixer.inputs.enumerated() {
      let demand = type.demands.first { $0.name == form.name }
      let source = MixerSource(
        form, seed: seed, tensor: UInt64(index), filling: demand?.filling ?? .normal)
      let tokens = PositionRange(0..<mixer.tokens)
      inputs[form.name] = try source.read([tokens], team: team).array
    }
    change(&inputs)
    self.inputs = inputs
    gradient = try MixerSource(
      mixer.outputs[0], seed: seed, tensor: 99, filling: .normal
    ).read([PositionRange(0..<mixer.tokens)], team: team).array
  }

  /// Numbers `sin(a · index + b)`, as in golden values.
  init(
    _ name: String, _ sizes: [String: Int], options: MixerOptions = MixerOptions(),
    present: Set<String> = [], _ numbers: (TensorForm) -> [Float]
  ) throws {
    let type = try requireMixer(name)
    mixer = try type.init(MixerSizes(sizes), present: present, options: options)
    var inputs: [String: [Float]] = [:]
    for form in mixer.inputs { inputs[form.name] = numbers(form) }
    self.inputs = inputs
    gradient = numbers(mixer.outputs[0].named("do"))
  }

  /// The same operator on some of the tokens, with states of its own.
  ///
  /// - Parameter states: inputs that are not of tokens, by name.
  func part(
    _ tokens: Range<Int>, of sizes: [String: Int], _ states: Results, options: MixerOptions
  ) throws -> MixerProblem {
    var own = sizes
    own["tokens"] = tokens.count
    let names = Set(inputs.keys).union(states.keys)
    var result = try MixerProblem(
      type(of: mixer).name, own, present: names, options: options)
    for form in mixer.inputs {
      guard let axis = form.tokenAxis, let whole = inputs[form.name] else { continue }
      let row = form.shape.stride(axis)
      let rows = form.sizes[axis] * row
      result.inputs[form.name] = (0..<form.sizes[..<axis].reduce(1, *)).flatMap { outer in
        whole[outer * rows + tokens.lowerBound * row..<outer * rows + tokens.upperBound * row]
      }
    }
    for (name, numbers) in states { result.inputs[name] = numbers }
    return result
  }

  /// Computes on some ranks, with delays at random.
  func run(
    ranks: Int, layout: Layout = .contiguous, threads: Int = 1, gradients: Bool = true,
    traffic: (@Sendable (Int, Traffic) -> Void)? = nil
  ) throws -> Results {
    let sharding = Sharding(layout, tokens: mixer.tokens, ranks: ranks)
    let results = Mutex<Results>([:])
    try LoopbackJob.run(ranks: ranks, seed: UInt64(ranks)) { wire in
      let line = RankLine(wire, sharding: sharding, team: ThreadTeam(threads: threads))
      var own = MixerTensors()
      for form in mixer.inputs { own.add(part(inputs[form.name] ?? [], form, line)) }
      let result = try mixer.forward(own, keeping: gradients, on: line)
      traffic?(wire.rank, wire.traffic)
      put(result.outputs.all, owner: result.owner, line, into: results)
      guard gradients, mixer.hasGradients else { return }
      let form = mixer.outputs[0].named("do")
      let back = try mixer.backward(
        own, result, gradient: part(gradient, form, line), on: line)
      put(back.all, owner: result.gradientOwner, line, into: results)
    }
    return results.withLock { $0 }
  }

  /// A rank's part of numbers.
  private func part(_ numbers: [Float], _ form: TensorForm, _ line: RankLine) -> MixerTensor {
    var tensor = Tensor<Float>(zeros: form.shape(tokens: line.tokens))
    var span = tensor.mutableSpan
    for (place, whole) in places(form, line) { span[place] = numbers[whole] }
    return MixerTensor(form, tensor)
  }

  private func put(
    _ tensors: [(name: String, tensor: MixerTensor)], owner: Int, _ line: RankLine,
    into results: borrowing Mutex<Results>
  ) {
    for (name, tensor) in tensors {
      if tensor.form.tokenAxis == nil, line.rank != owner { continue }
      let numbers = tensor.array
      results.withLock { results in
        var all = results[name] ?? [Float](repeating: .nan, count: tensor.form.shape.elementCount)
        for (place, whole) in places(tensor.form, line) { all[whole] = numbers[place] }
        results[name] = all
      }
    }
  }

  /// The places of a rank's numbers in its part and in the whole.
  private func places(_ form: TensorForm, _ line: RankLine) -> [(Int, Int)] {
    guard let axis = form.tokenAxis else {
      return (0..<form.shape.elementCount).map { ($0, $0) }
    }
    let rowLength = form.shape.stride(axis)
    var places: [(Int, Int)] = []
    for outer in 0..<form.sizes[..<axis].reduce(1, *) {
      for run in line.runs {
        for position in run {
          let first = (outer * form.sizes[axis] + position) * rowLength
          for column in 0..<rowLength { places.append((places.count, first + column)) }
        }
      }
    }
    return places
  }

  // MARK: By the oracle

  /// All outputs by the oracle, in double precision.
  func expected(_ inputs: [String: [Double]]) -> [String: [Double]] {
    let dimension = type(of: mixer).unitDimension
    var results: [String: [Double]] = [:]
    for form in mixer.outputs {
      results[form.name] = [Double](repeating: 0, count: form.shape.elementCount)
    }
    for batch in 0..<mixer.batch {
      for unit in 0..<mixer.sizes[dimension] {
        var own: [String: [Double]] = [:]
        for form in mixer.inputs {
          let numbers = inputs[form.name] ?? []
          own[form.name] = unitPlaces(form, batch, unit, dimension).map { numbers[$0] }
        }
        for (name, numbers) in mixer.reference(own) {
          guard let form = mixer.outputs.first(where: { $0.name == name }) else { continue }
          for (place, number) in zip(unitPlaces(form, batch, unit, dimension), numbers) {
            results[name]?[place] = number
          }
        }
      }
    }
    return results
  }

  private func unitPlaces(
    _ form: TensorForm, _ batch: Int, _ unit: Int, _ dimension: String
  ) -> [Int] {
    var places = [0]
    for (name, size) in zip(form.dimensions, form.sizes) {
      let indices =
        switch name {
        case "batch": [batch]
        case dimension: [unit]
        case "kvHeads" where dimension == "heads", "groups" where dimension == "heads",
          "heads" where dimension == "channels":
          [unit / (mixer.sizes[dimension] / size)]
        default: Array(0..<size)
        }
      places = places.flatMap { place in indices.map { place * size + $0 } }
    }
    return places
  }

  /// The inputs in double precision.
  var doubles: [String: [Double]] { inputs.mapValues { $0.map(Double.init) } }

  /// The gradient of an input by central differences of the oracle.
  func expectedGradient(of name: String) -> [Double] {
    let inputs = doubles
    let output = mixer.outputs[0].name
    let step = 1e-6
    func loss(_ index: Int, _ step: Double) -> Double {
      var moved = inputs
      moved[name]?[index] += step
      return zip(expected(moved)[output] ?? [], gradient).reduce(0) { $0 + $1.0 * Double($1.1) }
    }
    return (inputs[name] ?? []).indices.map {
      (loss($0, step) - loss($0, -step)) / (2 * step)
    }
  }
}

/// An operator's type.
func requireMixer(_ name: String) throws -> any Mixer.Type {
  guard let type = MixerCatalog.named(name) else { throw MissingMixer(name: name) }
  return type
}

/// A name without an operator.
struct MissingMixer: Error { let name: String }

/// The largest difference, by 1 + the largest number n, but by no more than 10 n.
///
/// Of small numbers a part counts so. What is nothing but the rounding of a central difference is
/// as good as 0.
func difference(_ actual: [Float]?, _ expected: [Double]) -> Double {
  guard let actual, actual.count == expected.count else { return .infinity }
  let largest = expected.reduce(0) { max($0, abs($1)) }
  let scale = largest > 1e-7 ? min(1 + largest, 10 * largest) : 1
  return zip(actual, expected).reduce(0) {
    let error = abs(Double($1.0) - $1.1) / scale
    return error.isNaN ? .infinity : max($0, error)
  }
}
