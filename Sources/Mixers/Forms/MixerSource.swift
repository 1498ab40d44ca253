public import Compute
import Glibc
public import Tensors

/// A tensor of an operator whose rows can be read anywhere: a file, or random numbers.
public struct MixerSource: Sendable {
  /// What it is.
  public let form: TensorForm
  private let origin: Origin

  private enum Origin {
    case file(TensorSource)
    case random(RandomNormal, TensorDemand.Filling)
  }

  /// A tensor of a file.
  ///
  /// - Precondition: it has the shape of the form.
  public init(_ form: TensorForm, file: TensorSource) {
    precondition(file.shape == form.shape, "a tensor of another shape")
    self.form = form
    origin = .file(file)
  }

  /// Random numbers, the same for every number of ranks.
  ///
  /// - Parameter tensor: tells those of one seed apart.
  public init(_ form: TensorForm, seed: UInt64, tensor: UInt64, filling: TensorDemand.Filling) {
    self.form = form
    origin = .random(RandomNormal(seed: seed, tensor: tensor), filling)
  }

  /// Reads a rank's part.
  ///
  /// - Parameter runs: where its tokens stand.
  /// - Throws: a `TensorFileError`.
  public func read(_ runs: [PositionRange], team: ThreadTeam) throws -> MixerTensor {
    guard let axis = form.tokenAxis else {
      var tensor = Tensor<Float>(zeros: form.shape)
      if form.shape.elementCount > 0 {
        var numbers = tensor.mutableSpan
        try read(RowSlice(PositionRange(0..<form.sizes[0]), axis: 0), into: &numbers)
      }
      return MixerTensor(form, tensor)
    }
    let shape = form.shape
    let tokens = runs.reduce(0) { $0 + $1.count }
    var tensor = Tensor<Float>(zeros: form.shape(tokens: tokens))
    var numbers = tensor.mutableSpan
    let rowLength = shape.stride(axis)
    var start = 0
    for outer in 0..<shape.dimensions[..<axis].reduce(1, *) {
      for run in runs {
        let end = start + run.count * rowLength
        var part = numbers.part(start..<end)
        try team.forEachPart(of: &part, rowLength: rowLength, partLength: 1 << 16) { part, rows in
          try read(RowSlice(run.slice(rows), axis: axis, outerIndex: outer), into: &part)
        }
        start = end
      }
    }
    return MixerTensor(form, tensor)
  }

  /// Reads some rows.
  func read(_ slice: RowSlice, into numbers: inout MutableSpan<Float>) throws {
    switch origin {
    case .file(let source):
      try source.read(slice, into: &numbers)
    case .random(let random, let filling):
      let rowLength = form.shape.stride(slice.axis)
      let first = slice.outerIndex * form.sizes[slice.axis]
      for index in slice.rows.indices {
        var row = numbers.part(index * rowLength..<(index + 1) * rowLength)
        random.fill(&row, from: (first + slice.rows[index]) * rowLength)
      }
      filling.apply(to: &numbers)
    }
  }

  /// One unit of one sequence, whole, in double precision.
  ///
  /// - Parameters:
  ///   - batch: the sequence.
  ///   - unit: a head or a channel.
  ///   - dimension: that of heads or channels.
  /// - Returns: the numbers without the dimensions of sequences and units.
  /// - Complexity: reads the whole sequence, a few rows at a time.
  func slice(batch: Int, unit: Int, of dimension: UnitDimension) throws -> [Double] {
    let cut = UnitCut(form, batch: batch, unit: unit, of: dimension)
    var result: [Double] = []
    result.reserveCapacity(cut.count)
    let rowLength = form.shape.stride(cut.axis)
    let step = max(1, (1 << 18) / max(1, rowLength))
    var piece = [Float](repeating: 0, count: min(step, form.sizes[cut.axis]) * rowLength)
    for outer in cut.outerIndices {
      for start in Swift.stride(from: 0, to: form.sizes[cut.axis], by: step) {
        let rows = start..<min(start + step, form.sizes[cut.axis])
        var all = piece.mutableSpan
        var part = all.part(0..<rows.count * rowLength)
        try read(RowSlice(PositionRange(rows), axis: cut.axis, outerIndex: outer), into: &part)
        for row in 0..<rows.count {
          for place in cut.places(row: start + row) {
            result.append(Double(piece[row * rowLength + place]))
          }
        }
      }
    }
    return result
  }
}

/// The dimension along which an operator computes one part without the others.
struct UnitDimension {
  /// What it is called.
  let name: String
  /// How many units of a sequence there are.
  let count: Int

  /// Where a unit's numbers are along a dimension; nil if it has all of them.
  ///
  /// Query heads share heads of keys and values, heads groups, and channels heads, evenly.
  func index(_ unit: Int, along other: String, of size: Int) -> Int? {
    other == name ? unit : isShared(other) ? unit / (count / size) : nil
  }

  /// Units that share what they have of some dimension with others.
  func group(sharing other: String, of size: Int) -> Int { isShared(other) ? count / size : 1 }

  private func isShared(_ other: String) -> Bool {
    [("heads", "kvHeads"), ("heads", "groups"), ("channels", "heads")].contains {
      $0 == (name, other)
    }
  }
}

/// Which numbers of a tensor are of one unit of one sequence.
struct UnitCut {
  /// The dimension along which it is read.
  let axis: Int
  /// Which of the parts that the dimensions before it make, in their order.
  let outerIndices: [Int]
  /// The places of the unit's numbers in a row.
  private let inner: [Int]
  /// The rows that have any; nil for all.
  private let onlyRow: Int?
  private let rows: Int

  /// - Parameter form: a tensor with dimensions of sequences and units before that of tokens, or
  ///   without one.
  init(_ form: TensorForm, batch: Int, unit: Int, of dimension: UnitDimension) {
    func fixed(_ axis: Int) -> Int? {
      let name = form.dimensions[axis]
      return name == "batch" ? batch : dimension.index(unit, along: name, of: form.sizes[axis])
    }
    axis = form.tokenAxis ?? 0
    outerIndices = (0..<axis).reduce([0]) { outers, axis in
      let numbers = fixed(axis).map { [$0] } ?? Array(0..<form.sizes[axis])
      return outers.flatMap { outer in numbers.map { outer * form.sizes[axis] + $0 } }
    }
    onlyRow = fixed(axis)
    rows = form.sizes[axis]
    var places = [0]
    for axis in axis + 1..<max(form.sizes.count, axis + 1) {
      let numbers = fixed(axis).map { [$0] } ?? Array(0..<form.sizes[axis])
      places = places.flatMap { place in numbers.map { place * form.sizes[axis] + $0 } }
    }
    inner = places
  }

  /// Whether all numbers lie in one row.
  var isOneRow: Bool { onlyRow != nil }

  /// How many numbers there are.
  var count: Int { outerIndices.count * (onlyRow == nil ? rows : 1) * inner.count }

  /// The places in a row.
  func places(row: Int) -> [Int] { onlyRow == nil || onlyRow == row ? inner : [] }
}

extension TensorDemand.Filling {
  /// Makes of standard-normal numbers what is asked for.
  func apply(to numbers: inout MutableSpan<Float>) {
    for index in numbers.indices {
      let x = numbers[index]
      switch self {
      case .normal: return
      case .negative: numbers[index] = -exp(x)
      case .gate: numbers[index] = -exp(x) / 16
      case .step: numbers[index] = log1p(exp(x - 2))
      case .share: numbers[index] = 1 / (1 + exp(-x))
      case .weight: numbers[index] = x / 8
      }
    }
  }
}
