/// A tensor in an open file, to be read by slices of rows.
///
/// The file stays open for as long as a source of it exists. Sources may be used by several threads
/// at a time.
public struct TensorSource: Sendable {
  /// The name, the shape and the place of the tensor.
  public let entry: TensorEntry

  /// The type of the elements in the file.
  public let elementType: ElementType

  /// The dimensions, outermost first.
  public let shape: Shape

  let file: ReadableFile

  /// For each dimension, from an element to its neighbour along it: how many elements further on in
  /// the file.
  let strides: [Int]

  /// For each dimension, its number in the file's own shape.
  private let fileAxes: [Int]

  /// The file, as its path was given.
  public var path: String { file.path }

  /// The name of the tensor.
  public var name: String { entry.name }

  /// The place in the file of the first element's first byte.
  public var byteOffset: Int { entry.byteOffset }

  /// Takes an entry of a file as a tensor to read.
  ///
  /// - Throws: A `TensorFileError` if elements of its type are not read, or the rank is not `rank`.
  init(entry: TensorEntry, file: ReadableFile, rank: Int?) throws(TensorFileError) {
    guard let elementType = entry.elementType else {
      throw TensorFileError(
        .unsupported, path: file.path, tensor: entry.name,
        "its elements are of type \(quoted(entry.typeName)), which is not read here",
        remedy: "save it as one of \(ElementType.listed)")
    }
    if let rank, entry.shape.rank != rank {
      let expected = rank == 4 ? "4, [batch, tokens, heads, headDim]" : "\(rank)"
      throw TensorFileError(
        .wrongShape, path: file.path, tensor: entry.name,
        "its shape \(entry.shape) has rank \(entry.shape.rank), but rank \(expected) is needed",
        remedy: "reshape it before saving")
    }
    self.entry = entry
    self.elementType = elementType
    self.file = file
    let dimensions = entry.shape.dimensions
    shape = entry.shape
    strides =
      entry.isColumnMajor
      ? dimensions.indices.map { dimensions[..<$0].reduce(1, *) }
      : dimensions.indices.map(entry.shape.stride)
    fileAxes = Array(dimensions.indices)
  }

  private init(_ source: TensorSource, axes: [Int]) {
    entry = source.entry
    elementType = source.elementType
    file = source.file
    shape = Shape(axes.map { source.shape[$0] })
    strides = axes.map { source.strides[$0] }
    fileAxes = axes.map { source.fileAxes[$0] }
  }

  /// The same tensor with its dimensions in another order: dimension i is dimension `axes[i]` of
  /// this one.
  ///
  /// Nothing is copied; slices are gathered where they are read.
  ///
  /// - Precondition: `axes` has every number in `0..<shape.rank` once.
  public func permuted(_ axes: [Int]) -> TensorSource {
    precondition(
      axes.sorted() == Array(0..<shape.rank), "\(axes) is no order of \(shape.rank) axes")
    return TensorSource(self, axes: axes)
  }

  /// Whether the elements lie in the file in the order in which slices have them.
  var isRowMajor: Bool { strides == shape.dimensions.indices.map(shape.stride) }

  /// The index in the file's own shape of an element of this one.
  func fileIndex(_ index: [Int]) -> [Int] {
    var result = index
    for (number, axis) in zip(index, fileAxes) { result[axis] = number }
    return result
  }

  /// Opens one tensor of a `.safetensors` or `.npy` file, told apart by their first bytes.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - name: The tensor's name in a `.safetensors` file; a `.npy` file has one tensor, no name.
  ///   - rank: The number of dimensions that the tensor must have, if given.
  /// - Returns: The tensor.
  /// - Throws: A `TensorFileError` if the file cannot be read, is not valid, or does not hold such
  ///   a tensor.
  public static func open(
    _ path: String, tensor name: String, rank: Int? = nil
  ) throws(TensorFileError) -> TensorSource {
    let file = try ReadableFile(path: path)
    if try NpyFile.hasMagic(file) {
      return try NpyFile(file).source(rank: rank)
    }
    return try SafetensorsFile(file).source(name, rank: rank)
  }
}
