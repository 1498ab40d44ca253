public import Tensors

/// What a tensor of an operator looks like, with names for its dimensions.
///
/// `TensorDemand("q", "batch tokens heads headDim")` says that q has four dimensions; two tensors
/// with a dimension of the same name have as many of it.
public struct TensorDemand: Hashable, Sendable {
  /// What random numbers it is filled with where there is no file.
  public enum Filling: Sendable {
    /// Standard-normal numbers x.
    case normal
    /// `−e^x`: negative exponents, of which decays are made.
    case negative
    /// `−e^x / 16`: those of gates, of which each token has its own.
    case gate
    /// `ln(1 + e^(x − 2))`: step sizes.
    case step
    /// `1 / (1 + e^−x)`.
    case share
    /// `x / 8`: weights.
    case weight
  }

  /// The name in a file.
  public let name: String
  /// The names of its dimensions, outermost first.
  public let dimensions: [String]
  /// The names that they may have instead, another number of them.
  public let otherDimensions: [String]?
  /// Whether the operator does without it.
  public let isOptional: Bool
  /// What `--random` has in its place.
  public let filling: Filling

  /// Describes a tensor by its name and its dimensions, with blanks between them.
  public init(
    _ name: String, _ dimensions: String, or others: String? = nil, isOptional: Bool = false,
    filling: Filling = .normal
  ) {
    self.name = name
    self.dimensions = dimensions.split(separator: " ").map(String.init)
    otherDimensions = others?.split(separator: " ").map(String.init)
    self.isOptional = isOptional
    self.filling = filling
  }

  /// The dimensions of a tensor with so many of them; nil if it may not have as many.
  public func dimensions(rank: Int) -> [String]? {
    [dimensions, otherDimensions ?? []].first { $0.count == rank }
  }

  /// The tensor of these sizes.
  func form(_ sizes: MixerSizes, named name: String? = nil) -> TensorForm {
    let dimensions = dimensions(rank: sizes.ranks[self.name] ?? dimensions.count) ?? dimensions
    return TensorForm(
      name: name ?? self.name, dimensions: dimensions, sizes: dimensions.map { sizes[$0] })
  }
}

/// A tensor with its sizes.
public struct TensorForm: Hashable, Sendable {
  /// The name in a file.
  public let name: String
  /// The names of its dimensions, outermost first.
  public let dimensions: [String]
  /// How many there are of each, of the whole sequence.
  public let sizes: [Int]

  package init(name: String, dimensions: [String], sizes: [Int]) {
    (self.name, self.dimensions, self.sizes) = (name, dimensions, sizes)
  }

  /// The shape of the whole tensor.
  public var shape: Shape { Shape(sizes) }

  /// Which dimension is that of tokens; nil for tensors that every rank has.
  public var tokenAxis: Int? { dimensions.firstIndex(of: "tokens") }

  /// The shape of a rank's part.
  ///
  /// - Parameter tokens: those of the rank.
  public func shape(tokens: Int) -> Shape {
    guard let axis = tokenAxis else { return shape }
    var sizes = sizes
    sizes[axis] = tokens
    return Shape(sizes)
  }

  /// The same with another name.
  public func named(_ name: String) -> TensorForm {
    TensorForm(name: name, dimensions: dimensions, sizes: sizes)
  }
}

/// How many there are of each dimension of an operator's tensors.
public struct MixerSizes: Hashable, Sendable {
  private var sizes: [String: Int]
  /// How many dimensions tensors have of which that says which they are, by their names.
  public var ranks: [String: Int] = [:]

  /// Takes sizes by the names of their dimensions.
  public init(_ sizes: [String: Int] = [:]) { self.sizes = sizes }

  /// The size of a dimension.
  ///
  /// - Precondition: a tensor that is there has it.
  public subscript(name: String) -> Int {
    guard let size = sizes[name] else { preconditionFailure("no tensor has \(name)") }
    return size
  }

  /// The size of a dimension; nil if no tensor that is there has it.
  public func find(_ name: String) -> Int? { sizes[name] }

  /// Takes the sizes of one tensor.
  ///
  /// - Returns: the dimension in which it differs from those before it, and of how many those were.
  public mutating func add(_ demand: TensorDemand, _ shape: Shape) -> (name: String, other: Int)? {
    ranks[demand.name] = shape.rank
    let names = demand.dimensions(rank: shape.rank) ?? demand.dimensions
    for (name, size) in zip(names, shape.dimensions) {
      if let other = sizes[name], other != size { return (name, other) }
      sizes[name] = size
    }
    return nil
  }

  /// Gives a dimension its size, unless it has one.
  public mutating func complete(_ name: String, _ size: Int) {
    if sizes[name] == nil { sizes[name] = size }
  }
}
