/* What Python holds of the data path. cffi reads this file and, behind it, what each header or source declares for
 * Python; the headers include it: one definition for both. */

typedef struct dp dp_t;
typedef struct port port_t;
