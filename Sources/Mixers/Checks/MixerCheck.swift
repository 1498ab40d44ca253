import Compute
import MPI
import Tensors

/// Compares what ranks have computed of some units with the oracle in double precision.
///
/// Outputs are compared number by number. Of a gradient the oracle has the derivative of
/// `Σ do ∘ o` along a random direction, by central differences: what an error in any number of the
/// gradient changes.
///
/// Errors are told as parts of `min(1 + n, 10 n)`, where n is the size of what they are errors of:
/// the usual `1 + n` would let anything pass where an operator's outputs are small numbers, as a
/// mean over many tokens is.
public struct MixerCheck: Sendable {
  /// What was found.
  public struct Finding: Hashable, Sendable {
    /// The largest difference of an output, as a part of the largest of its unit.
    public var maxError = 0.0
    /// What is allowed.
    public let tolerance = 1e-5
    /// The largest difference of a derivative, as a part of the norm of what was summed up; nil
    /// without gradients.
    ///
    /// The norm of `do ∘ o` counts if it is larger: a gradient that is nothing but rounding is as
    /// good as 0.
    public var maxGradientError: Double?
    /// What is allowed.
    public let gradientTolerance = 1e-4
    /// Numbers that were compared.
    public var numbers = 0
    /// Units that were compared.
    public var units = 0
    /// How many units there are.
    public var allUnits = 0
    /// Gradients that sum over more units than were compared, and so were not.
    public var unchecked: [String] = []

    /// Whether all is well.
    public var holds: Bool {
      maxError <= tolerance && (maxGradientError ?? 0) <= gradientTolerance
    }
  }

  /// Numbers of all units up to which all are compared.
  private static let mostForAll = 1 << 16

  private let mixer: any Mixer
  private let sources: [MixerSource]
  private let gradient: MixerSource?
  private let seed: UInt64
  private let dimension: UnitDimension

  /// - Parameters:
  ///   - sources: of all inputs of the operator.
  ///   - gradient: of its first output; nil checks no gradients.
  public init(
    of mixer: any Mixer, _ sources: [MixerSource], gradient: MixerSource?, seed: UInt64
  ) {
    self.mixer = mixer
    self.sources = sources
    self.gradient = gradient
    self.seed = seed
    let name = type(of: mixer).unitDimension
    dimension = UnitDimension(name: name, count: mixer.sizes[name])
  }

  /// Compares, called by all ranks together.
  ///
  /// - Throws: what a source throws on this rank, which others do not know of.
  public func run(
    _ result: MixerResult, _ gradients: MixerTensors?, on line: RankLine,
    agreed: (() throws -> Void) throws -> Void
  ) throws -> Finding {
    var finding = Finding()
    let pairs = mixer.batch * dimension.count
    let all = Array(0..<pairs)
    let chosen = pairs * mixer.tokens <= Self.mostForAll ? all : sample(of: pairs)
    finding.units = chosen.count
    finding.allUnits = pairs
    var sums: [Double] = []
    var names: [String] = []
    var squares = 0.0
    if gradients != nil {
      for source in sources {
        if isShared(source.form) && chosen.count < pairs {
          finding.unchecked.append("d\(source.form.name)")
        } else {
          names.append(source.form.name)
        }
      }
    }
    // For each gradient: the derivative, this rank's part of it, and of the squares.
    sums = [Double](repeating: 0, count: 3 * names.count)
    try agreed {
      for pair in chosen {
        let (batch, unit) = pair.quotientAndRemainder(dividingBy: dimension.count)
        var inputs: [String: [Double]] = [:]
        for source in sources {
          inputs[source.form.name] = try source.slice(batch: batch, unit: unit, of: dimension)
        }
        let expected = mixer.reference(inputs)
        compare(expected, result, batch, unit, line, &finding)
        if gradients != nil, let gradient {
          let weights = try gradient.slice(batch: batch, unit: unit, of: dimension)
          for (number, weight) in zip(expected[mixer.outputs[0].name] ?? [], weights) {
            squares += number * number * weight * weight
          }
          let (found, given) = (names, inputs)
          let derivatives = try line.team.map(names.count) {
            derivative(given, along: found[$0], batch, unit, weights)
          }
          for (index, number) in derivatives.enumerated() { sums[3 * index] += number }
        }
      }
      if let gradients {
        for (index, name) in names.enumerated() {
          let own = own(
            gradients["d\(name)"], name, chosen, line, owner: result.gradientOwner)
          (sums[3 * index + 1], sums[3 * index + 2]) = own
        }
      }
    }
    try combine(&finding, names, sums, least: squares.squareRoot(), line)
    return finding
  }

  /// What an error of numbers of some size is told as a part of.
  package static func scale(_ size: Double) -> Double { size > 0 ? min(1 + size, 10 * size) : 1 }

  /// Puts together what the ranks have found.
  ///
  /// - Parameter least: the least size of gradients.
  private func combine(
    _ finding: inout Finding, _ names: [String], _ sums: [Double], least: Double, _ line: RankLine
  ) throws(MPIError) {
    // The derivative is the same on all ranks; each of them says the part of its own numbers.
    let maxima = MixerTensor(
      zeros: TensorForm(name: "maxima", dimensions: ["one"], sizes: [1]), tokens: 0)
    unsafe maxima.base[0] = Float(finding.maxError)
    try Summary.maximum.combine(maxima, on: line)
    finding.maxError = unsafe Double(maxima.base[0])
    if gradient == nil || names.isEmpty && finding.unchecked.isEmpty { return }
    let parts = MixerTensor(
      zeros: TensorForm(name: "parts", dimensions: ["parts"], sizes: [4 * names.count]), tokens: 0)
    for index in names.indices {
      // A double in two floats.
      let high = Float(sums[3 * index + 1])
      unsafe parts.base[4 * index] = high
      unsafe parts.base[4 * index + 1] = Float(sums[3 * index + 1] - Double(high))
      unsafe parts.base[4 * index + 2] = Float(sums[3 * index + 2])
    }
    try Summary.sum.combine(parts, on: line)
    var largest = 0.0
    for index in names.indices {
      let found = unsafe Double(parts.base[4 * index]) + Double(parts.base[4 * index + 1])
      let norm = unsafe Double(parts.base[4 * index + 2]).squareRoot()
      let error = abs(found - sums[3 * index]) / Self.scale(max(norm, least))
      largest = error.isNaN ? .infinity : max(largest, error)
    }
    finding.maxGradientError = largest
  }

  /// Whether a tensor has no dimension for sequences or for units, so that its gradient is a sum
  /// over all of them.
  private func isShared(_ form: TensorForm) -> Bool {
    let hasUnits = zip(form.dimensions, form.sizes).contains {
      dimension.index(0, along: $0, of: $1) != nil
    }
    return mixer.batch > 1 && !form.dimensions.contains("batch") || dimension.count > 1 && !hasUnits
  }

  /// Two units, chosen by the seed, each with those that share a part of some tensor with it: the
  /// gradient of that part is a sum over all of these.
  private func sample(of pairs: Int) -> [Int] {
    let sharing = sources.flatMap { source in
      zip(source.form.dimensions, source.form.sizes).map { dimension.group(sharing: $0, of: $1) }
    }
    let group = sharing.max() ?? 1
    let groups = pairs / group
    let first = Int(seed % UInt64(groups))
    let chosen =
      groups == 1 ? [0] : [first, (first + 1 + Int(seed / 7) % (groups - 1)) % groups]
    return chosen.flatMap { $0 * group..<($0 + 1) * group }
  }

  /// Compares this rank's numbers of a unit with those of the oracle.
  private func compare(
    _ expected: [String: [Double]], _ result: MixerResult, _ batch: Int, _ unit: Int,
    _ line: RankLine, _ finding: inout Finding
  ) {
    for form in mixer.outputs {
      guard let numbers = expected[form.name] else { continue }
      if form.tokenAxis == nil, line.rank != result.owner { continue }
      let scale = Self.scale(numbers.reduce(0) { max($0, abs($1)) })
      let actual = result.outputs[form.name]
      for (place, index) in OwnNumbers(form, batch, unit, dimension, line) {
        let error = abs(Double(actual.span[place]) - numbers[index]) / scale
        finding.maxError = error.isNaN ? .infinity : max(finding.maxError, error)
        finding.numbers += 1
      }
    }
  }

  /// A unit's part of a random direction of one input.
  ///
  /// Numbers next to 0 stay where they are: some operators have a kink there, over which a
  /// difference is no derivative.
  private func direction(_ name: String, _ batch: Int, _ unit: Int) -> [Double]? {
    let index = sources.firstIndex { $0.form.name == name } ?? 0
    let normal = MixerSource(
      sources[index].form, seed: seed &+ 1, tensor: 1000 + UInt64(index), filling: .normal)
    guard let way = try? normal.slice(batch: batch, unit: unit, of: dimension),
      let values = try? sources[index].slice(batch: batch, unit: unit, of: dimension)
    else { return nil }
    return zip(way, values).map { abs($1) <= 10 * step ? 0 : $0 }
  }

  /// Half of what central differences are taken over.
  private var step: Double { type(of: mixer).differenceStep }

  /// The derivative of `Σ do ∘ o` of a unit along a random direction.
  private func derivative(
    _ inputs: [String: [Double]], along name: String, _ batch: Int, _ unit: Int,
    _ weights: [Double]
  ) -> Double {
    guard let x = inputs[name],
      let way = direction(name, batch, unit)
    else { return .nan }
    let step = step
    let values = [step, -step].map { step in
      var moved = inputs
      moved[name] = zip(x, way).map { $0 + step * $1 }
      let output = mixer.reference(moved)[mixer.outputs[0].name] ?? []
      return zip(output, weights).reduce(0) { $0 + $1.0 * $1.1 }
    }
    return (values[0] - values[1]) / (2 * step)
  }

  /// This rank's part of a gradient times that direction, and of the squares of these products.
  private func own(
    _ gradient: MixerTensor, _ name: String, _ chosen: [Int], _ line: RankLine, owner: Int
  ) -> (sum: Double, squares: Double) {
    if gradient.form.tokenAxis == nil, line.rank != owner { return (0, 0) }
    var (sum, squares) = (0.0, 0.0)
    var seen: Set<Int> = []
    for pair in chosen {
      let (batch, unit) = pair.quotientAndRemainder(dividingBy: dimension.count)
      guard let way = direction(name, batch, unit) else { return (.nan, .nan) }
      for (place, index) in OwnNumbers(gradient.form, batch, unit, dimension, line)
      where seen.insert(place).inserted {
        let product = Double(gradient.span[place]) * way[index]
        sum += product
        squares += product * product
      }
    }
    return (sum, squares)
  }
}

/// The numbers of a unit that a rank has: their places in its part, and in the whole unit.
struct OwnNumbers: Sequence, IteratorProtocol {
  private let cut: UnitCut
  private let runs: [PositionRange]
  private let rowLength: Int
  private let localRows: Int
  private var outer = 0
  private var run = 0
  private var row = 0
  private var localRow = 0
  private var index = 0
  private var places: [Int] = []

  init(
    _ form: TensorForm, _ batch: Int, _ unit: Int, _ dimension: UnitDimension, _ line: RankLine
  ) {
    cut = UnitCut(form, batch: batch, unit: unit, of: dimension)
    runs = form.tokenAxis == nil ? [PositionRange(0..<form.sizes[0])] : line.runs
    localRows = runs.reduce(0) { $0 + $1.count }
    rowLength = form.shape.stride(cut.axis)
  }

  mutating func next() -> (place: Int, index: Int)? {
    while outer < cut.outerIndices.count {
      guard run < runs.count else {
        (outer, run, row, localRow, index) = (outer + 1, 0, 0, 0, 0)
        continue
      }
      if row == runs[run].count {
        (run, row) = (run + 1, 0)
        continue
      }
      let position = runs[run][row]
      places = cut.places(row: position)
      if index < places.count {
        defer { index += 1 }
        let perOuter = cut.count / cut.outerIndices.count
        let before = outer * perOuter + (cut.isOneRow ? 0 : position * places.count)
        return (
          (cut.outerIndices[outer] * localRows + localRow) * rowLength + places[index],
          before + index
        )
      }
      (row, localRow, index) = (row + 1, localRow + 1, 0)
    }
    return nil
  }
}
