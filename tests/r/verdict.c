/* SPDX-License-Identifier: MIT
 *
 * A module for verdict-nodes.R: native blocks of 1000 bytes whose only pointers lie in R's nodes.
 *
 *   hold_by_pointers(n)  n external pointers, without finalizers, to blocks of block_of_pointer()
 *   hold_by_bytes(n)     n raw vectors, each with the address of a block of block_of_bytes() in it
 *   hold_finalized(n)    n external pointers to blocks of block_of_finalizer(), which a finalizer frees, but not at R's exit
 *   preserve(n)          n external pointers to blocks of block_of_preserved(), kept by R_PreserveObject
 */
#include <stdlib.h>
#include <string.h>

#define R_NO_REMAP
#include <R.h>
#include <Rinternals.h>

#define EXPORT __attribute__((visibility("default")))
#define SITE __attribute__((noipa)) /* nor folded into one */
enum { SIZE = 1000 };

#define BLOCKS(name) \
	SITE static void *name(void) \
	{ \
		void *block = malloc(SIZE); \
		if (block) \
			memset(block, 0, SIZE); \
		__asm__ volatile("" : "+r"(block) : : "memory"); \
		return block; \
	}
BLOCKS(block_of_pointer)
BLOCKS(block_of_bytes)
BLOCKS(block_of_finalizer)
BLOCKS(block_of_preserved)

EXPORT SEXP hold_by_pointers(SEXP n);
EXPORT SEXP hold_by_bytes(SEXP n);
EXPORT SEXP hold_finalized(SEXP n);
EXPORT SEXP preserve(SEXP n);

static void finalize(SEXP pointer)
{
	free(R_ExternalPtrAddr(pointer));
	R_ClearExternalPtr(pointer);
}

SEXP hold_by_pointers(SEXP n)
{
	SEXP list = PROTECT(Rf_allocVector(VECSXP, Rf_asInteger(n)));
	for (R_xlen_t i = 0; i < Rf_xlength(list); i++)
		SET_VECTOR_ELT(list, i, R_MakeExternalPtr(block_of_pointer(), R_NilValue, R_NilValue));
	UNPROTECT(1);
	return list;
}

SEXP hold_by_bytes(SEXP n)
{
	SEXP list = PROTECT(Rf_allocVector(VECSXP, Rf_asInteger(n)));
	for (R_xlen_t i = 0; i < Rf_xlength(list); i++) {
		SEXP bytes = Rf_allocVector(RAWSXP, sizeof(void *));
		SET_VECTOR_ELT(list, i, bytes);
		void *block = block_of_bytes();
		memcpy(RAW(bytes), &block, sizeof block);
	}
	UNPROTECT(1);
	return list;
}

SEXP hold_finalized(SEXP n)
{
	SEXP list = PROTECT(Rf_allocVector(VECSXP, Rf_asInteger(n)));
	for (R_xlen_t i = 0; i < Rf_xlength(list); i++) {
		SEXP pointer = R_MakeExternalPtr(block_of_finalizer(), R_NilValue, R_NilValue);
		SET_VECTOR_ELT(list, i, pointer);
		R_RegisterCFinalizerEx(pointer, finalize, FALSE);
	}
	UNPROTECT(1);
	return list;
}

SEXP preserve(SEXP n)
{
	for (int i = 0; i < Rf_asInteger(n); i++)
		R_PreserveObject(R_MakeExternalPtr(block_of_preserved(), R_NilValue, R_NilValue));
	return R_NilValue;
}
