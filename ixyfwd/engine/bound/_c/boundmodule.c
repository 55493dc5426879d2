/* A C function and the struct it works on, as one built-in function for Python's poll loop.
 *
 * A call converts no arguments, saves no errno and keeps the interpreter lock: a function that is bound must return
 * soon. The built-in's self is an object of a type of its own rather than a capsule: no look-up stands
 * between the call and the function, and the garbage collector sees what the function keeps alive. METH_FASTCALL and
 * not METH_NOARGS: the interpreter has a specialised instruction for the former only.
 */
#include <Python.h>
#include <stdint.h>

typedef uint32_t (*Function)(void *work);

struct bound {
    PyObject_HEAD
    Function function;
    void *work;
    PyObject *keeps; /* that `work` points into */
};

struct state {
    PyTypeObject *type;
};

static uint32_t do_nothing(void *work)
{
    (void)work;
    return 0;
}

static PyObject *call(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    struct bound *bound = (struct bound *)self;
    (void)arguments;
    if (count != 0) {
        PyErr_Format(PyExc_TypeError, "a bound C function takes no arguments (%zd given)", count);
        return NULL;
    }
    return PyLong_FromUnsignedLong(bound->function(bound->work));
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((struct bound *)self)->keeps);
    return 0;
}

/* What `work` points at may be gone after this, yet a finaliser in the same garbage may still call. */
static int clear(PyObject *self)
{
    struct bound *bound = (struct bound *)self;
    bound->function = do_nothing;
    Py_CLEAR(bound->keeps);
    return 0;
}

static void dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* Through void (*)(void), since compilers warn of a cast between functions of different arguments. */
static PyMethodDef call_method = {"bound", (PyCFunction)(void (*)(void))call, METH_FASTCALL, NULL};

static PyObject *new_call(PyObject *module, PyObject *arguments)
{
    PyObject *function, *work, *keeps;
    if (!PyArg_ParseTuple(arguments, "O!O!O:new_call", &PyLong_Type, &function, &PyLong_Type, &work, &keeps))
        return NULL;
    void *function_address = PyLong_AsVoidPtr(function);
    void *work_address = function_address ? PyLong_AsVoidPtr(work) : NULL;
    if (PyErr_Occurred())
        return NULL;
    if (!function_address || !work_address) {
        PyErr_SetString(PyExc_ValueError, "neither the function nor the struct may be at address 0");
        return NULL;
    }
    struct bound *bound = PyObject_GC_New(struct bound, ((struct state *)PyModule_GetState(module))->type);
    if (!bound)
        return NULL;
    bound->function = (Function)(uintptr_t)function_address;
    bound->work = work_address;
    bound->keeps = Py_NewRef(keeps);
    PyObject_GC_Track((PyObject *)bound);
    PyObject *built_in = PyCFunction_NewEx(&call_method, (PyObject *)bound, NULL);
    Py_DECREF(bound);
    return built_in;
}

static PyType_Slot type_slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {0, NULL},
};

static PyType_Spec type_spec = {
    .name = "ixyfwd.engine.bound.Bound",
    .basicsize = sizeof(struct bound),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = type_slots,
};

static int execute(PyObject *module)
{
    struct state *state = PyModule_GetState(module);
    state->type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &type_spec, NULL);
    return state->type ? 0 : -1;
}

static int traverse_module(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(((struct state *)PyModule_GetState(module))->type);
    return 0;
}

static int clear_module(PyObject *module)
{
    Py_CLEAR(((struct state *)PyModule_GetState(module))->type);
    return 0;
}

static PyMethodDef methods[] = {
    {"new_call", new_call, METH_VARARGS,
     PyDoc_STR("new_call(function, work, keeps, /)\n--\n\n"
               "A callable for the C function at address `function`, called with the address `work`.")},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "ixyfwd.engine.bound._bound",
    .m_size = sizeof(struct state),
    .m_methods = methods,
    .m_slots = module_slots,
    .m_traverse = traverse_module,
    .m_clear = clear_module,
};

PyMODINIT_FUNC PyInit__bound(void) { return PyModuleDef_Init(&definition); }
