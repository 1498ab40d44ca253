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
  // Rows of one head lie so far apart that they would meet in a few places of the first cache.
  let few = 64
  let (copiesA, copiesB) = (a.row > rows, b.row > columns)
  var scratch = Scratch(
    count: rows * columns + few * ((copiesA ? rows : 0) + (copiesB ? columns : 0)), parts: 3)
  let part = unsafe StridedMatrix(scratch.take(rows * columns), row: columns)
  let left = unsafe StridedMatrix(scratch.take(copiesA ? few * rows : 0), row: rows)
  let right = unsafe StridedMatrix(scratch.take(copiesB ? few * columns : 0), row: columns)
  for start in Swift.stride(from: 0, to: count, by: partOfSums) {
    let end = min(start + partOfSums, count)
    for first in Swift.stride(from: start, to: end, by: few) {
      let depth = min(few, end - first)
      let (x, y) = (a.part(row: first), b.part(row: first))
      if copiesA { x.copy(to: left, rows: depth, columns: rows) }
      if copiesB { y.copy(to: right, rows: depth, columns: columns) }
      multiply(
        (copiesA ? left : x).transposed, copiesB ? right : y, into: part, rows: rows,
        depth: depth, columns: columns, adding: first > start)
    }
    for index in 0..<rows * columns { unsafe total[index] += Double(part.base[index]) }
    poll()
  }
}

/// The rows of one head of one sequence of a tensor `[batch, tokens, heads, columns]`.
///
/// Of a tensor that has fewer heads each stands for as many neighbours.
@unsafe
func headRows(_ tensor: MixerTensor, _ unit: Int, heads: Int, tokens: Int) -> StridedMatrix {
  let (sequence, head) = unit.quotientAndRemainder(dividingBy: heads)
  let (own, columns) = (tensor.form.sizes[2], tensor.form.sizes[3])
  let row = own * columns
  return unsafe StridedMatrix(
    tensor.base + sequence * tokens * row + head * own / heads * columns, row: row)
}
