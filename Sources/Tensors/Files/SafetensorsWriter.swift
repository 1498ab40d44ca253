import Glibc

/// Writes a `.safetensors` file from many processes at once, each its own rows.
///
/// One process, the creator, calls `create` before all others call `join` with the same layout and
/// token. Each writes its rows and calls `synchronize`; when all have, the creator calls `commit`.
/// Until then the data are in a hidden file beside the target; the target appears complete, or an
/// earlier file of its name stays as it was. A creator that is dropped without `commit` removes the
/// hidden file, so that an error anywhere leaves nothing behind.
public struct SafetensorsWriter: ~Copyable {
  /// What is written where.
  public let layout: SafetensorsLayout

  /// Hidden files of processes that were killed, which `create` has removed.
  public var removedLeftovers: [String] { file.removedLeftovers }

  private let file: PartialFile
  private let isCreator: Bool
  private var isFinished = false

  private init(layout: SafetensorsLayout, file: consuming PartialFile, isCreator: Bool) {
    self.layout = layout
    self.file = file
    self.isCreator = isCreator
  }

  deinit {
    if isCreator && !isFinished { file.remove() }
  }

  /// Creates the hidden file, reserves the space of the whole file, and writes the header.
  ///
  /// What dead processes have left of the same target is removed before. A process holds a lock on
  /// what it writes, so that the target of one that still writes is refused.
  ///
  /// - Parameters:
  ///   - layout: The target and what it will hold.
  ///   - token: Part of the hidden file's name, the same for all processes of a job and different
  ///     for each job; without slashes.
  ///   - existing: What to do where a file of the target's name is there.
  ///   - onCreation: Called with the hidden file's path as soon as it exists, for whoever has to
  ///     remove it where `deinit` does not run, as on a signal: reserving the space can take long.
  /// - Returns: The creator's writer.
  /// - Throws: A `TensorFileError` if the file cannot be created or there is no space for it;
  ///   nothing is left behind then.
  public static func create(
    _ layout: SafetensorsLayout, token: String, existing: OutputTarget.Existing = .replace,
    onCreation: (String) -> Void = { _ in }
  ) throws(TensorFileError) -> SafetensorsWriter {
    let target = try OutputTarget(layout.path, existing: existing)
    let file = try PartialFile(creating: target, token: token)
    onCreation(file.path)
    let writer = SafetensorsWriter(layout: layout, file: file, isCreator: true)
    try writer.file.reserve(layout.fileSize)
    try unsafe writer.file.write(layout.header.span.bytes, at: 0)
    return writer
  }

  /// Opens the hidden file that the creator has created.
  ///
  /// - Parameters:
  ///   - layout: The creator's layout.
  ///   - token: The creator's token.
  /// - Returns: A writer of the same file.
  /// - Throws: A `TensorFileError` if the file cannot be opened or does not have the layout's size.
  public static func join(
    _ layout: SafetensorsLayout, token: String
  ) throws(TensorFileError) -> SafetensorsWriter {
    let file = try PartialFile(joining: layout.path, token: token)
    let size = try file.byteCount()
    guard size == layout.fileSize else {
      throw TensorFileError(
        .unwritable, path: layout.path,
        "the file \(quoted(file.path, limit: 4096)) that was begun for it has \(size) bytes instead"
          + " of \(layout.fileSize)",
        remedy: "write the same tensors from every process")
    }
    return SafetensorsWriter(layout: layout, file: file, isCreator: false)
  }

  /// Narrows numbers to the tensor's element type and writes them to some of its rows.
  ///
  /// No byte outside of these rows is written, so processes need not wait for each other.
  ///
  /// - Parameters:
  ///   - slice: The rows to write; see `RowSlice` for `[batch, tokens, heads, headDim]`.
  ///   - name: The tensor.
  ///   - numbers: The rows, one after the other.
  /// - Throws: A `TensorFileError` if writing fails.
  /// - Precondition: The layout has the tensor, the slice lies within its shape, and `numbers` has
  ///   exactly the slice's element count.
  /// - Complexity: O(elements), with one system call for each MiB of a contiguous slice, and one
  ///   for each row of another.
  public func write(
    _ slice: RowSlice, of name: String, from numbers: Span<Float>
  ) throws(TensorFileError) {
    let entry = layout[name]
    let elements = slice.elements(in: entry.shape)
    precondition(
      numbers.count == elements.count,
      "\(numbers.count) numbers are not the \(elements.count) elements of the slice")
    try write(elements, of: entry, from: numbers)
  }

  /// Writes a whole tensor from one process.
  ///
  /// - Throws: A `TensorFileError` if writing fails.
  /// - Precondition: The layout has the tensor, and `numbers` its element count.
  public func write(all name: String, from numbers: Span<Float>) throws(TensorFileError) {
    let entry = layout[name]
    let count = entry.shape.elementCount
    precondition(numbers.count == count, "\(numbers.count) numbers do not fill \(entry.shape)")
    try write(
      RowElements(start: 0, rowLength: count, rowStride: count, rowCount: 1), of: entry,
      from: numbers)
  }

  /// Returns when all that this process wrote is on the disk, or says why it is not.
  ///
  /// - Throws: A `TensorFileError` if the system could not write it.
  public func synchronize() throws(TensorFileError) {
    try file.synchronize()
  }

  /// Gives the finished file the name of the target, in place of any earlier file.
  ///
  /// - Throws: A `TensorFileError` if the file could not be written to the disk, and is then
  ///   removed, or could not be renamed, and then stays where the error says.
  /// - Precondition: This is the creator, and all processes have written and synchronized.
  public consuming func commit() throws(TensorFileError) {
    precondition(isCreator, "Only the process that created the file can commit it")
    try file.synchronize()
    isFinished = true
    try file.rename()
  }

  /// Gives up: the creator removes the hidden file; other processes close it.
  public consuming func discard() {}
}

extension SafetensorsWriter {
  /// Writes rows as few large pieces where they are neighbours, and one by one where not.
  private func write(
    _ elements: RowElements, of entry: TensorEntry, from numbers: Span<Float>
  ) throws(TensorFileError) {
    guard elements.count > 0, let elementType = entry.elementType else { return }
    let byteWidth = elementType.byteWidth
    let isContiguous = elements.isContiguous
    let runLength = isContiguous ? elements.count : elements.rowLength
    let pieceLength = min(runLength, TensorSource.pieceBytes / byteWidth)
    var scratch = AlignedBuffer<UInt8>(zeros: elementType == .f32 ? 0 : pieceLength * byteWidth)
    for run in stride(from: 0, to: elements.count, by: runLength) {
      for start in stride(from: run, to: run + runLength, by: pieceLength) {
        let piece = numbers.extracting(start..<min(start + pieceLength, run + runLength))
        let offset = entry.byteOffset + elements.place(of: start) * byteWidth
        if elementType == .f32 {
          try file.write(unsafe piece.bytes, at: offset)
        } else {
          var span = scratch.mutableSpan
          var part = span.part(0..<piece.count * byteWidth)
          var bytes = unsafe part.mutableBytes
          elementType.encode(piece, into: &bytes)
          try file.write(unsafe part.bytes, at: offset)
        }
      }
    }
  }
}

extension SafetensorsFile {
  /// Writes a whole file from one process; `write` writes the tensors.
  ///
  /// - Parameters:
  ///   - layout: The target and what it will hold.
  ///   - write: Writes every tensor with the writer that it is given.
  /// - Throws: A `TensorFileError` if creating or writing fails; no file is left behind then.
  public static func write(
    _ layout: SafetensorsLayout,
    _ write: (borrowing SafetensorsWriter) throws(TensorFileError) -> Void
  ) throws(TensorFileError) {
    let writer = try SafetensorsWriter.create(layout, token: "process-\(getpid())")
    try write(writer)
    try writer.commit()
  }
}
