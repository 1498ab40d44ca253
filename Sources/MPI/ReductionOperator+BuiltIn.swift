internal import COpenMPI

extension ReductionOperator where Element: MPIScalar {
  /// Adds (`MPI_SUM`, MPI 3.1 §5.9.2).
  public static var sum: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_sum()))
  }

  /// Multiplies (`MPI_PROD`, MPI 3.1 §5.9.2).
  public static var product: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_product()))
  }

  /// Takes the smaller (`MPI_MIN`, MPI 3.1 §5.9.2).
  public static var min: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_min()))
  }

  /// Takes the larger (`MPI_MAX`, MPI 3.1 §5.9.2).
  public static var max: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_max()))
  }
}

extension ReductionOperator where Element: MPIScalar & FixedWidthInteger {
  /// The bits that are set in both (`MPI_BAND`, MPI 3.1 §5.9.2).
  public static var bitwiseAnd: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_bitwise_and()))
  }

  /// The bits that are set in either (`MPI_BOR`, MPI 3.1 §5.9.2).
  public static var bitwiseOr: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_bitwise_or()))
  }

  /// The bits that are set in one only (`MPI_BXOR`, MPI 3.1 §5.9.2).
  public static var bitwiseXor: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_bitwise_xor()))
  }

  /// 1 where the elements of all ranks are not 0, 0 otherwise; the element itself on one rank alone
  /// (`MPI_LAND`, MPI 3.1 §5.9.2).
  public static var logicalAnd: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_logical_and()))
  }

  /// 1 where an element of any rank is not 0, 0 otherwise; the element itself on one rank alone
  /// (`MPI_LOR`, MPI 3.1 §5.9.2).
  public static var logicalOr: ReductionOperator<Element> {
    unsafe ReductionOperator(builtIn: OperatorHandle(copenmpi_logical_or()))
  }
}
