extension TensorSource {
  /// Whether a tensor may hold elements that are NaN or infinite.
  public enum NonFinite: Hashable, Sendable {
    /// Reading such an element is an error that names its index.
    case refused

    /// Such elements are read like all others.
    case allowed
  }

  /// The most bytes that are read at a time: few system calls, yet the piece is in cache when it is
  /// widened and checked, and the scratch memory for elements of 16 bits stays small.
  static let pieceBytes = 1 << 20

  /// Rows whose starts are at most this many bytes apart are read together with what lies between
  /// them: a page has to be read in any case, and a system call costs more than copying one.
  static let sieveBytes = 4 << 10

  /// Reads some rows of the tensor and widens them to `Float`.
  ///
  /// - Parameters:
  ///   - slice: The rows to read; see `RowSlice` for `[batch, tokens, heads, headDim]`.
  ///   - numbers: Where the rows go, one after the other.
  ///   - nonFinite: Whether NaN and infinity are an error, which names the first such element.
  /// - Throws: A `TensorFileError` if reading fails, the file has become shorter since it was
  ///   opened, or an element is NaN or infinite and that is refused. `numbers` is then partly
  ///   written.
  /// - Precondition: The slice lies within the shape, and `numbers` has exactly its element count.
  /// - Complexity: O(elements), with one system call for each MiB of a contiguous slice; one for
  ///   each row where neighbouring rows of the slice start more than 4 KiB apart; and one for each
  ///   64 KiB, or shorter run of the file, of a tensor in another order than row-major.
  public func read(
    _ slice: RowSlice, into numbers: inout MutableSpan<Float>, nonFinite: NonFinite = .refused
  ) throws(TensorFileError) {
    let elements = slice.elements(in: shape)
    precondition(
      numbers.count == elements.count,
      "\(numbers.count) numbers have no room for exactly \(elements.count) elements")
    guard elements.count > 0 else { return }
    guard isRowMajor else {
      try Gatherer(source: self, slice).read(into: &numbers)
      return try check(numbers.span, 0..<elements.count, of: elements, nonFinite)
    }
    var reader = PieceReader(source: self, elements: elements, nonFinite: nonFinite)
    if elements.isContiguous {
      try reader.readNeighbours(0..<elements.count, into: &numbers)
    } else if elements.rowStride * elementType.byteWidth <= Self.sieveBytes {
      try reader.readSieved(into: &numbers)
    } else {
      for row in 0..<elements.rowCount {
        let start = row * elements.rowLength
        try reader.readNeighbours(start..<start + elements.rowLength, into: &numbers)
      }
    }
  }

  /// Reads a whole tensor, for small ones and tools; see `read(_:into:nonFinite:)`.
  ///
  /// - Throws: A `TensorFileError` as for slices.
  public func readAll(nonFinite: NonFinite = .refused) throws(TensorFileError) -> Tensor<Float> {
    var tensor = Tensor<Float>(zeros: shape)
    let elements = RowElements(
      start: 0, rowLength: tensor.count, rowStride: tensor.count, rowCount: 1)
    guard elements.count > 0 else { return tensor }
    var numbers = tensor.mutableSpan
    guard isRowMajor else {
      try Gatherer(source: self).read(into: &numbers)
      try check(numbers.span, 0..<elements.count, of: elements, nonFinite)
      return tensor
    }
    var reader = PieceReader(source: self, elements: elements, nonFinite: nonFinite)
    try reader.readNeighbours(0..<elements.count, into: &numbers)
    return tensor
  }

  /// Fills `bytes` with neighbouring elements of the file, lowest byte of each first.
  func readElements(atPlace place: Int, into bytes: inout MutableRawSpan) throws(TensorFileError) {
    try file.read(at: byteOffset + place * elementType.byteWidth, into: &bytes)
    if entry.isBigEndian { bytes.reverseBytes(ofElements: elementType.byteWidth) }
  }

  /// Refuses NaN and infinity among those numbers of a slice, unless they are allowed.
  fileprivate func check(
    _ numbers: Span<Float>, _ indices: Range<Int>, of elements: RowElements, _ nonFinite: NonFinite
  ) throws(TensorFileError) {
    guard nonFinite == .refused,
      let found = numbers.extracting(indices).firstNonFiniteIndex
    else { return }
    let index = indices.lowerBound + found
    let place = fileIndex(shape.index(ofFlat: elements.place(of: index)))
    throw TensorFileError(
      .notFinite, path: path, tensor: name, "the element at index \(place) is \(numbers[index])",
      remedy: "find out where it was computed, as no attention over it is a number")
  }
}

/// Reads a slice piece by piece, with one piece of scratch memory for bytes that must be converted.
private struct PieceReader: ~Copyable {
  let source: TensorSource
  let elements: RowElements
  let nonFinite: TensorSource.NonFinite

  /// Empty until something has to be converted.
  private var scratch = AlignedBuffer<UInt8>(zeros: 0)

  init(source: TensorSource, elements: RowElements, nonFinite: TensorSource.NonFinite) {
    self.source = source
    self.elements = elements
    self.nonFinite = nonFinite
  }

  private var byteWidth: Int { source.elementType.byteWidth }

  /// Reads those elements of the slice, which are neighbours in the file as well.
  mutating func readNeighbours(
    _ indices: Range<Int>, into numbers: inout MutableSpan<Float>
  ) throws(TensorFileError) {
    let pieceLength = TensorSource.pieceBytes / byteWidth
    let place = elements.place(of: indices.lowerBound)
    for start in stride(from: indices.lowerBound, to: indices.upperBound, by: pieceLength) {
      let piece = start..<min(start + pieceLength, indices.upperBound)
      let piecePlace = place + start - indices.lowerBound
      var destination = numbers.part(piece)
      if source.elementType == .f32 {
        var bytes = unsafe destination.mutableBytes
        try source.readElements(atPlace: piecePlace, into: &bytes)
      } else {
        try fillScratch(byteCount: piece.count * byteWidth, fromPlace: piecePlace)
        let bytes = unsafe scratch.span.bytes.extracting(0..<piece.count * byteWidth)
        source.elementType.decode(bytes, into: &destination)
      }
      try source.check(numbers.span, piece, of: elements, nonFinite)
    }
  }

  /// Reads rows together with what lies between them, and keeps the rows.
  mutating func readSieved(into numbers: inout MutableSpan<Float>) throws(TensorFileError) {
    let rowBytes = elements.rowLength * byteWidth
    let rowStrideBytes = elements.rowStride * byteWidth
    let rowsPerPiece = max(1, TensorSource.pieceBytes / rowStrideBytes)
    for firstRow in stride(from: 0, to: elements.rowCount, by: rowsPerPiece) {
      let rows = firstRow..<min(firstRow + rowsPerPiece, elements.rowCount)
      try fillScratch(
        byteCount: (rows.count - 1) * rowStrideBytes + rowBytes,
        fromPlace: elements.start + firstRow * elements.rowStride)
      for row in rows {
        let start = (row - firstRow) * rowStrideBytes
        var destination = numbers.part(
          row * elements.rowLength..<(row + 1) * elements.rowLength)
        source.elementType.decode(
          unsafe scratch.span.bytes.extracting(start..<start + rowBytes), into: &destination)
      }
      try source.check(
        numbers.span, rows.lowerBound * elements.rowLength..<rows.upperBound * elements.rowLength,
        of: elements, nonFinite)
    }
  }

  private mutating func fillScratch(
    byteCount: Int, fromPlace place: Int
  ) throws(TensorFileError) {
    let source = source
    if scratch.count < byteCount {
      scratch = unsafe AlignedBuffer(uninitializedCount: byteCount)
    }
    var span = scratch.mutableSpan
    var part = span.part(0..<byteCount)
    var bytes = unsafe part.mutableBytes
    try source.readElements(atPlace: place, into: &bytes)
  }
}

extension MutableRawSpan {
  /// Turns the bytes of each element of two or four bytes round.
  fileprivate mutating func reverseBytes(ofElements width: Int) {
    if width == 2 {
      for start in stride(from: 0, to: byteCount, by: 2) {
        let bits = unsafe unsafeLoadUnaligned(fromByteOffset: start, as: UInt16.self)
        storeBytes(of: bits.byteSwapped, toByteOffset: start, as: UInt16.self)
      }
    } else {
      for start in stride(from: 0, to: byteCount, by: 4) {
        let bits = unsafe unsafeLoadUnaligned(fromByteOffset: start, as: UInt32.self)
        storeBytes(of: bits.byteSwapped, toByteOffset: start, as: UInt32.self)
      }
    }
  }
}
