/// The header of a `.safetensors` file, parsed and checked against the size of the file.
///
/// The format: 8 bytes of header length, little-endian; that many bytes of JSON,
/// `{name: {"dtype": …, "shape": […], "data_offsets": [begin, end]}, …, "__metadata__": {…}}`; then
/// the data, which the tensors cover from beginning to end without holes or overlaps.
struct SafetensorsHeader {
  /// The tensors in the order of their data.
  let entries: [TensorEntry]

  /// The strings under `__metadata__`.
  let metadata: [String: String]

  /// The limit of the format's reference implementation for the length of the JSON text.
  static let maximumLength = 100_000_000

  /// Reads and checks the header of an open file.
  init(_ file: ReadableFile) throws(TensorFileError) {
    func malformed(_ problem: String, tensor: String? = nil) -> TensorFileError {
      TensorFileError(
        .malformed, path: file.path, tensor: tensor, problem,
        remedy: "save it again as a .safetensors file")
    }
    try Self.requireLength(of: file)
    let lengthBytes = try file.read(at: 0, count: 8)
    let length = lengthBytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= Self.maximumLength else {
      throw malformed(
        "its header would be \(length) bytes long, beyond the format's limit of"
          + " \(Self.maximumLength), so this is likely no .safetensors file")
    }
    let dataStart = 8 + Int(length)
    guard dataStart <= file.byteCount else {
      throw TensorFileError(
        .truncated, path: file.path,
        "its header ends at byte \(dataStart), but the file has only \(file.byteCount) bytes",
        remedy: "copy or save it again")
    }

    let text = try file.read(at: 8, count: Int(length))
    let tensors: [SafetensorsTensor]
    do throws(HeaderTextError) {
      (tensors, metadata) = try SafetensorsTensor.parseHeader(text)
    } catch {
      throw malformed("its header has \(error.problem), at byte \(8 + error.offset) of the file")
    }

    // Zero-sized tensors share their place with a neighbour, before which they belong.
    let inOrder = tensors.sorted { ($0.begin, $0.end) < ($1.begin, $1.end) }
    var covered = 0
    for tensor in inOrder {
      if let problem = tensor.problem(after: covered) {
        throw malformed(problem, tensor: tensor.name)
      }
      covered = tensor.end
    }
    let present = file.byteCount - dataStart
    guard covered <= present else {
      throw TensorFileError(
        .truncated, path: file.path,
        "it was cut short by \(covered - present) of its \(covered) bytes of data",
        remedy: "copy or save it again")
    }
    guard covered == present else {
      throw malformed(
        "its last tensor ends at byte \(dataStart + covered), but the file has \(file.byteCount)")
    }
    entries = inOrder.map { $0.entry(dataStart: dataStart) }
  }

  /// Refuses what is something else by its first bytes, or has not even a length.
  private static func requireLength(of file: ReadableFile) throws(TensorFileError) {
    if let refusal = try FileFormat.refusal(of: file, insteadOf: .safetensors) { throw refusal }
    if file.byteCount >= 8 { return }
    throw TensorFileError(
      .truncated, path: file.path,
      file.byteCount == 0
        ? "it is empty"
        : "its size of \(file.byteCount) is less than the 8 bytes that any .safetensors file "
          + "begins with",
      remedy: "copy or save it again")
  }
}
