/// The dimensions of a row-major tensor, outermost first, whose element count is known to fit.
///
/// Attention tensors are `[batch, tokens, heads, headDim]`. An empty list is a scalar of one
/// element; a dimension of 0 makes the tensor empty.
public struct Shape: Hashable, Sendable {
  /// The dimensions, outermost first.
  public let dimensions: [Int]

  /// The product of the dimensions.
  public let elementCount: Int

  /// Creates a shape from numbers that a user chose: nil if one is negative or there are too many.
  ///
  /// The product of all dimensions but zeros must be an `Int`, so that strides exist as well.
  ///
  /// - Parameter dimensions: The dimensions, outermost first.
  public init?(validating dimensions: [Int]) {
    var product = 1
    var hasZero = false
    for dimension in dimensions {
      guard dimension >= 0 else { return nil }
      if dimension == 0 {
        hasZero = true
        continue
      }
      let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
      guard !overflow else { return nil }
      product = next
    }
    self.dimensions = dimensions
    self.elementCount = hasZero ? 0 : product
  }

  /// Creates a shape from dimensions that are known to be right.
  ///
  /// - Precondition: No dimension is negative, and their product is an `Int`.
  public init(_ dimensions: [Int]) {
    guard let shape = Shape(validating: dimensions) else {
      preconditionFailure("\(dimensions) is not the shape of a tensor")
    }
    self = shape
  }

  /// How many dimensions there are.
  @inlinable
  public var rank: Int { dimensions.count }

  /// The dimension with number `axis`, counted from the outermost.
  ///
  /// - Precondition: `axis` lies within `0..<rank`.
  @inlinable
  public subscript(axis: Int) -> Int { dimensions[axis] }

  /// How many elements lie between neighbours along `axis`: the product of the dimensions after it.
  ///
  /// - Precondition: `axis` lies within `0..<rank`.
  /// - Complexity: O(`rank`).
  public func stride(_ axis: Int) -> Int {
    dimensions[(axis + 1)...].reduce(1, *)
  }

  /// The size in bytes of a tensor of this shape, or nil if it is not an `Int`.
  public func byteCount(_ elementType: ElementType) -> Int? {
    byteCount(elementWidth: elementType.byteWidth)
  }

  /// The size in bytes of a tensor of elements of so many bytes, or nil if it is not an `Int`.
  func byteCount(elementWidth: Int) -> Int? {
    let (bytes, overflow) = elementCount.multipliedReportingOverflow(by: elementWidth)
    return overflow ? nil : bytes
  }
}

extension Shape {
  /// The row-major place of the element at `index`, one number for each dimension.
  ///
  /// - Precondition: `index` has `rank` numbers, each within its dimension.
  /// - Complexity: O(`rank`).
  public func flatIndex(of index: [Int]) -> Int {
    precondition(index.count == rank, "\(index) is not an index into shape \(self)")
    var flat = 0
    for (number, dimension) in zip(index, dimensions) {
      precondition(
        number >= 0 && number < dimension, "Index \(index) is outside of shape \(self)")
      flat = flat * dimension + number
    }
    return flat
  }

  /// The index of the element at row-major place `flat`, one number for each dimension.
  ///
  /// - Precondition: `flat` lies within `0..<elementCount`.
  /// - Complexity: O(`rank`).
  public func index(ofFlat flat: Int) -> [Int] {
    precondition(flat >= 0 && flat < elementCount, "Element \(flat) is outside of shape \(self)")
    var index = [Int](repeating: 0, count: rank)
    var rest = flat
    for axis in dimensions.indices.reversed() {
      let (quotient, remainder) = rest.quotientAndRemainder(dividingBy: dimensions[axis])
      index[axis] = remainder
      rest = quotient
    }
    return index
  }
}

extension Shape: ExpressibleByArrayLiteral {
  /// Creates a shape from a list of dimensions, as `init(_:)` does.
  public init(arrayLiteral dimensions: Int...) {
    self.init(dimensions)
  }
}

extension Shape: CustomStringConvertible {
  /// The dimensions in brackets, for example `[1, 8192, 8, 64]`.
  public var description: String { dimensions.description }
}
