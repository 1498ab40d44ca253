/// Matrices of which each rank has either some rows or some columns.
///
/// Queries are such matrices with a row for each token: a rank has the rows of its tokens before an
/// exchange of heads, and the columns of its heads after it. Log-sum-exps are, with a row for each
/// head.
struct SharedMatrices {
  /// Matrices, one after the other.
  let count: Int
  /// For each rank, the rows that it has at a time.
  let rows: [Int]
  /// For each rank, the columns that it has at the other time.
  let columns: [Int]

  /// What each rank gives to the others, or gets, of the tensor `[count, own rows, all columns]`.
  func partsOfRows(of rank: Int) -> [TensorPart] {
    let all = columns.reduce(0, +)
    return zip(starts(columns), columns).map { start, width in
      TensorPart(start: start, width: width, stride: all, count: count * rows[rank])
    }
  }

  /// What each rank gives to the others, or gets, of the tensor `[count, all rows, own columns]`.
  func partsOfColumns(of rank: Int) -> [TensorPart] {
    let own = columns[rank]
    let all = rows.reduce(0, +)
    return zip(starts(rows), rows).map { start, height in
      TensorPart(start: start * own, width: height * own, stride: all * own, count: count)
    }
  }

  private func starts(_ sizes: [Int]) -> [Int] {
    var end = 0
    return sizes.map { size in
      defer { end += size }
      return end
    }
  }
}

/// Some elements of a tensor: stretches of equal width at equal distances.
struct TensorPart {
  let start: Int
  let width: Int
  let stride: Int
  /// Stretches.
  let count: Int

  var elementCount: Int { width * count }
  /// Whether there is nothing between the stretches, so that they can be sent as they lie.
  var isDense: Bool { count == 1 || width == stride }
}
