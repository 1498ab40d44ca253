/// The element type of a `.npy` file, from what NumPy calls it: `<f4`, `=f2`, `>f4`, `float32`,
/// `e`.
///
/// NumPy has no bfloat16 of its own; the Python package `ml_dtypes` adds one, which `numpy.save`
/// calls `<V2`. NumPy's own two-byte raw type is `|V2`, with the sign for "no byte order", and no
/// other type of `ml_dtypes` has two bytes and kind V, so `<V2` is bfloat16 and `|V2` is refused.
struct NpyType {
  /// Nil for whole numbers.
  let elementType: ElementType?
  /// Nil for others.
  let integerType: IntegerType?
  let isBigEndian: Bool

  /// - Parameter refusal: Makes an error of a problem and its remedy.
  init(
    of name: String, _ refusal: (TensorFileError.Kind, String, String) -> TensorFileError
  ) throws(TensorFileError) {
    let order = name.first.flatMap { "<>=|".contains($0) ? $0 : nil }
    let code = order == nil ? name : String(name.dropFirst())
    integerType = IntegerType(fileName: name)
    switch (code, order) {
    case _ where integerType != nil: elementType = nil
    case ("f4", _), ("f", _), ("float32", nil), ("single", nil): elementType = .f32
    case ("f2", _), ("e", _), ("float16", nil), ("half", nil): elementType = .f16
    case ("V2", "<"), ("bfloat16", nil): elementType = .bf16
    case ("V2", _):
      throw refusal(
        .unsupported,
        "its elements are two raw bytes each (\(quoted(name))), which may mean anything",
        "save it with .astype('<f4'), or as ml_dtypes.bfloat16, which is called '<V2'")
    case ("O", _):
      throw refusal(
        .unsupported, "its elements are Python objects (\(quoted(name))), which only Python reads",
        "save it with .astype('<f4')")
    default:
      throw refusal(
        .unsupported,
        "its elements are of type \(quoted(name)) instead of float32, float16, bfloat16 "
          + "or whole numbers of one, four or eight bytes",
        "save it with .astype('<f4')")
    }
    isBigEndian = order == ">"
  }

  /// The size of an element in bytes.
  var byteWidth: Int { elementType?.byteWidth ?? integerType?.byteWidth ?? 0 }
}
