/// Tokens of which sums are added up in `Float` before they are added to others in `Double`.
let partOfSums = 256

/// Adds `aᵀ b` of some tokens, in parts.
///
/// - Parameters:
///   - a: `[count, rows]`.
///   - b: `[count, columns]`.
///   - total: `[rows, columns]`.
@unsafe
func addProducts(
  _ a: StridedMatrix, _ b: StridedMatrix, _ count: Int, rows: Int, columns: Int,
  to total: UnsafeMutablePointer<Double>, _ poll: Poll
) {
  var scratch = Scratch(count: rows * columns, parts: 1)
  let part = unsafe StridedMatrix(scratch.take(rows * columns), row: columns)
  for start in Swift.stride(from: 0, to: count, by: partOfSums) {
    multiply(
      a.part(row: start).transposed, b.part(row: start), into: part, rows: rows,
      depth: min(partOfSums, count - start), columns: columns)
    for index in 0..<rows * columns { unsafe total[index] += Double(part.base[index]) }
    poll()
  }
}

/// The rows of one head of one sequence of a tensor `[batch, tokens, heads, columns]`.
@unsafe
func headRows(_ tensor: MixerTensor, _ unit: Int, heads: Int, tokens: Int) -> StridedMatrix {
  let (sequence, head) = unit.quotientAndRemainder(dividingBy: heads)
  let columns = tensor.form.sizes[3]
  let row = heads * columns
  return unsafe StridedMatrix(
    tensor.base + sequence * tokens * row + head * columns, row: row)
}
